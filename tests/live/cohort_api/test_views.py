"""The warehouse's views against slow, plain Python, on random histories of both tables.

A history has what producers and the sync really do: several values of a user in a period, events
that are redelivered or come late, members who join late, leave, and come back.
"""

from __future__ import annotations

import json
import statistics as plain
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# Few of each, so that values of one user and period meet.
PERIODS = [date(2025, 9, 1), date(2025, 10, 1)]
COMPANIES, USERS, COHORTS = ["a", "a", "b"], ["u1", "u2", "u3"], ["c1", "c2"]
START = datetime(2025, 9, 1, tzinfo=UTC)


class Value(NamedTuple):
    """A metric event; `seq` is its identity."""

    seq: int
    company: str
    metric: str
    value: float
    period: date
    minute: int
    user: str | None


class Join(NamedTuple):
    company: str
    cohort: str
    user: str


class Leave(NamedTuple):
    company: str
    cohort: str
    user: str


class Again(NamedTuple):
    """The event of that number is delivered once more."""

    number: int


values = st.builds(
    Value,
    st.integers(1, 10**6),
    st.sampled_from(COMPANIES),
    st.sampled_from(["score", "score", "hours"]),
    st.integers(-1000, 1000).map(lambda n: n / 8),
    st.sampled_from(PERIODS),
    st.integers(0, 300),
    st.sampled_from([None, *USERS, *USERS]),
)
membership = [st.sampled_from(part) for part in (COMPANIES, COHORTS, USERS)]
# A cohort is of one company: its id says which.
joins = st.builds(lambda company, cohort, user: Join(company, company + cohort, user), *membership)
leaves = joins.map(lambda join: Leave(*join))
again = st.builds(Again, st.integers(0, 40))
steps = st.one_of(values, values, values, joins, joins, leaves, again)
Step = Value | Join | Leave | Again


def play(ch: Client, history: list[Step]) -> tuple[dict[int, Value], set[Join]]:
    """Do what the history says; runs of values go in one block. Returns what there is at last."""
    events: dict[int, Value] = {}
    members: set[Join] = set()
    blocks: dict[str, list[dict[str, Any]]] = {"events": [], "metrics_timeseries": []}

    def store(event: Value) -> None:
        at = (START + timedelta(minutes=event.minute)).strftime("%Y-%m-%d %H:%M:%S.000")
        event_id = f"metrics.calculated-{event.seq}-1700000000000"
        shared = {"company_id": event.company, "user_id": event.user, "timestamp": at}
        blocks["events"].append(
            {
                **shared,
                "event_id": event_id,
                "event_type": f"metrics.{event.metric}",
                "received_at": 1_700_000_000 + event.seq,
                "stream_seq": event.seq,
                "payload": "{}",
            }
        )
        blocks["metrics_timeseries"].append(
            {
                **shared,
                "event_id": event_id,
                "metric_name": event.metric,
                "metric_value": event.value,
                "period_start": event.period.isoformat(),
            }
        )

    def flush() -> None:
        for table, rows in blocks.items():
            if rows:
                insert(ch, table, rows)
                rows.clear()

    for step in history:
        if isinstance(step, Value):
            if step.seq not in events:
                events[step.seq] = step
                store(step)
        elif isinstance(step, Again):
            if events:
                flush()  # a redelivery comes in a batch of its own
                store(list(events.values())[step.number % len(events)])
                flush()
        elif isinstance(step, Join):
            row = {"user_id": step.user, "cohort_id": step.cohort, "company_id": step.company}
            insert(ch, "user_cohorts", [{**row, "joined_at": 0}])
            members.add(step)
        elif Join(*step) in members:
            ch.command(
                "DELETE FROM user_cohorts WHERE company_id = {company:String}"
                " AND cohort_id = {cohort:String} AND user_id = {user:String}",
                step._asdict(),
            )
            members.remove(Join(*step))
    flush()
    return events, members


def insert(ch: Client, table: str, rows: Iterable[dict[str, Any]]) -> None:
    ch.raw_insert(table, insert_block="\n".join(map(json.dumps, rows)), fmt="JSONEachRow")


def cohort_metrics(events: Iterable[Value], members: set[Join]) -> dict[Any, list[float | None]]:
    """A user is one observation in a period: the mean of their values."""
    means: dict[Any, list[float]] = defaultdict(list)
    for member in members:
        of_period: dict[Any, list[float]] = defaultdict(list)
        for event in events:
            if (event.company, event.user) == (member.company, member.user):
                of_period[event.metric, event.period].append(event.value)
        for key, found in of_period.items():
            means[(member.cohort, *key)].append(plain.fmean(found))
    return {key: _described(found) for key, found in means.items()}


def _described(found: list[float]) -> list[float | None]:
    one = len(found) == 1
    cuts = [found[0]] * 99 if one else plain.quantiles(found, n=100, method="inclusive")
    return [
        plain.fmean(found),
        len(found),
        *(cuts[i] for i in (49, 74, 94)),
        min(found),
        max(found),
        None if one else plain.stdev(found),
    ]


@given(history=st.lists(steps, min_size=10, max_size=60))
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_views_equal_the_plain_computation(ch: Client, history: list[Step]) -> None:
    for table in ("events", "metrics_timeseries", "user_cohorts"):
        ch.command(f"TRUNCATE TABLE {table}")
    events, members = play(ch, history)

    # Off, since the views must say FINAL themselves: not every reader's profile does.
    off = {"final": 0}
    rows = ch.query("SELECT * FROM cohort_metrics_mv", settings=off).result_rows
    # One finished row a cohort, metric and period.
    assert len({row[:3] for row in rows}) == len(rows)
    found = {row[:3]: list(row[3:]) for row in rows}
    expected = cohort_metrics(events.values(), members)
    assert set(found) == set(expected)
    for key, figures in expected.items():
        assert found[key] == pytest.approx(figures, abs=1e-9), key

    days: dict[Any, list[str | None]] = defaultdict(list)
    hours: dict[Any, list[float]] = defaultdict(list)
    for event in events.values():
        moment = START + timedelta(minutes=event.minute)
        days[event.company, f"metrics.{event.metric}", moment.date()].append(event.user)
        hours[event.company, event.metric, moment.replace(minute=0)].append(event.value)
    counted = ch.query("SELECT * FROM daily_event_counts_mv", settings=off).result_rows
    assert {row[:3]: row[3:] for row in counted} == {
        key: (len(users), len(set(users) - {None})) for key, users in days.items()
    }
    hourly = ch.query(
        "SELECT company_id, metric_name, toUnixTimestamp(hour_start), avg_value, max_value,"
        " min_value, sample_count FROM hourly_metrics_mv",
        settings=off,
    ).result_rows
    assert len(hourly) == len(hours)
    for company, metric, hour, *figures in hourly:
        wanted = hours[company, metric, datetime.fromtimestamp(hour, UTC)]
        assert figures == pytest.approx(
            [plain.fmean(wanted), max(wanted), min(wanted), len(wanted)], abs=1e-9
        )
