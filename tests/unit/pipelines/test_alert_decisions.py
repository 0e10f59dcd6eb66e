"""When an alert opens, repeats and ends: any history of findings, outages and failed deliveries."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.defs.alerts.condition import Condition, Severity
from pipelines.defs.alerts.decision import PAUSES, REOPEN_PAUSE, Alert, Plan, decide, told

START = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE = timedelta(minutes=2)
KEYS = {"run/a": timedelta(0), "run/b": timedelta(0), "stream/lag": PATIENCE}


@dataclass
class Table:
    """The rows, as the store keeps them."""

    rows: dict[tuple[str, datetime], Alert] = field(default_factory=dict)

    def save(self, alerts: tuple[Alert, ...] | list[Alert]) -> None:
        self.rows.update({(one.key, one.opened_at): one for one in alerts})

    def read(self, now: datetime) -> list[Alert]:
        """The condition of select_alerts.sql."""
        return [
            one
            for one in self.rows.values()
            if one.resolved_at is None
            or one.resolved_at >= now - REOPEN_PAUSE
            or (
                one.resolution_sent_at is None
                and (one.sends > 0 or one.next_send_at <= one.resolved_at)
            )
        ]


@dataclass(frozen=True)
class Step:
    seconds: int
    wrong: frozenset[str]
    unchecked: frozenset[str]
    delivered: bool


steps = st.lists(
    st.builds(
        Step,
        seconds=st.sampled_from([30, 30, 60, 300, 3600, 4 * 3600, 86400]),
        wrong=st.frozensets(st.sampled_from(sorted(KEYS))),
        unchecked=st.frozensets(st.sampled_from(["run", "stream"])),
        delivered=st.booleans(),
    ),
    max_size=25,
)


def condition(key: str, severity: Severity = Severity.ERROR) -> Condition:
    return Condition(key, severity, f"{key} is wrong", "alert-run", KEYS.get(key, timedelta(0)))


@settings(max_examples=300)
@given(steps)
def test_any_history_is_told_once_repeated_with_pauses_and_ended(  # noqa: PLR0912  # invariants
    history: list[Step],
) -> None:
    table, now = Table(), START
    openings: dict[tuple[str, datetime], list[datetime]] = defaultdict(list)
    endings: dict[tuple[str, datetime], int] = defaultdict(int)
    for step in history:
        now += timedelta(seconds=step.seconds)
        before = dict(table.rows)
        # What can't be asked finds nothing.
        found = [condition(key) for key in step.wrong if key.split("/")[0] not in step.unchecked]
        plan = decide(table.read(now), found, step.unchecked, "webhook", now)
        table.save(plan.changed)
        if step.delivered:
            table.save([told(one, "webhook", now) for one in plan.due])
            for one in plan.due:
                if one.resolved_at is None:
                    openings[one.key, one.opened_at].append(now)
                else:
                    endings[one.key, one.opened_at] += 1
        current = [one for one in table.rows.values() if one.resolved_at is None]

        # One open alert a key, and exactly for what is wrong or can't be asked.
        assert len({one.key for one in current}) == len(current)
        assert {one.key for one in current} >= {one.key for one in found}
        for row in before.values():
            if row.resolved_at is None and row.source in step.unchecked:
                assert table.rows[row.key, row.opened_at].resolved_at is None
        if not step.unchecked:
            assert {one.key for one in current} == set(step.wrong)
        # A failed delivery forgets nothing: all of it is due again at once.
        if not step.delivered:
            again = decide(table.read(now), found, step.unchecked, "webhook", now)
            assert set(again.due) == set(plan.due)
        # What has lasted is told as soon as something is delivered.
        if step.delivered:
            for one in current:
                assert one.sends > 0 or now < one.next_send_at
                assert one.next_send_at <= one.opened_at + PATIENCE + REOPEN_PAUSE or one.sends

    for times in openings.values():
        for number, (earlier, later) in enumerate(pairwise(times)):
            assert later - earlier >= PAUSES[min(number, len(PAUSES) - 1)]
    assert all(count == 1 for count in endings.values())
    # The end of what was told is told, and of nothing else but what was overdue.
    for key, row in table.rows.items():
        if row.resolved_at is None:
            assert not endings[key]
        elif endings[key]:
            assert openings[key] or row.next_send_at <= row.resolved_at


def first(plan: Plan) -> Alert:
    [one] = plan.changed
    return one


def test_what_becomes_worse_is_told_at_once_and_stays_at_its_worst() -> None:
    lag = "stream/lag"
    opened = told(
        first(decide([], [condition("run/a")], set(), "webhook", START)), "webhook", START
    )
    opened = Alert(**{**opened.__dict__, "key": lag, "severity": Severity.WARNING})
    later = START + timedelta(minutes=1)
    plan = decide([opened], [condition(lag, Severity.CRITICAL)], set(), "webhook", later)
    assert [one.severity for one in plan.due] == [Severity.CRITICAL]
    sent = told(plan.due[0], "webhook", later)
    milder = decide([sent], [condition(lag, Severity.WARNING)], set(), "webhook", later)
    assert milder == Plan((), ()) or milder.changed[0].severity is Severity.CRITICAL
    assert not milder.due


def test_a_short_trouble_with_patience_is_never_told() -> None:
    opened = first(decide([], [condition("stream/lag")], set(), "webhook", START))
    gone = decide([opened], [], set(), "webhook", START + timedelta(minutes=1))
    assert gone.changed[0].resolved_at is not None
    assert not gone.due


def test_an_alert_that_only_the_log_knows_is_due_when_a_webhook_appears() -> None:
    opened = first(decide([], [condition("run/a")], set(), "log", START))
    logged = told(opened, "log", START)
    later = START + timedelta(minutes=1)
    assert not decide([logged], [condition("run/a")], set(), "log", later).due
    assert decide([logged], [condition("run/a")], set(), "webhook", later).due == (logged,)


def test_what_comes_and_goes_is_told_once_in_five_minutes() -> None:
    opened = told(
        first(decide([], [condition("run/a")], set(), "webhook", START)), "webhook", START
    )
    gone = decide([opened], [], set(), "webhook", START + timedelta(seconds=30)).changed[0]
    ended = told(gone, "webhook", START + timedelta(seconds=30))
    back = START + timedelta(minutes=1)
    again = decide([ended], [condition("run/a")], set(), "webhook", back)
    assert not again.due
    assert again.changed[0].next_send_at == START + timedelta(seconds=30) + REOPEN_PAUSE


@pytest.mark.parametrize("sends", [1, 2, 3, 9])
def test_pauses_grow_to_a_day(sends: int) -> None:
    alert = first(decide([], [condition("run/a")], set(), "webhook", START))
    for _ in range(sends):
        alert = told(alert, "webhook", START)
    assert alert.next_send_at - START == PAUSES[min(sends, 3) - 1]
