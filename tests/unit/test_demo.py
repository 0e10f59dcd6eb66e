"""The demo's events and people: accepted by the system, the same at every start."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from embedded.demo.events import HISTORY_PERIODS, Live, history, week_of
from embedded.demo.people import COMPANIES, METRICS, cohorts, users
from embedded.live import describe
from events.accept import Event, accept

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


def test_history_is_accepted_and_covers_the_last_weeks() -> None:
    values: Counter[date] = Counter()
    for number, message in enumerate(history(NOW.date()), start=1):
        event = accept(message.subject, number, NOW_MS, message.payload)
        assert isinstance(event, Event), event
        low, high, _ = METRICS[event.metric_name]
        assert low <= event.metric_value <= high
        assert week_of(datetime.fromtimestamp(event.timestamp_ms / 1000, UTC).date()) == (
            event.period_start
        )
        values[event.period_start] += 1
    weeks = [date(2026, 3, 2) - timedelta(weeks=age) for age in range(HISTORY_PERIODS, 0, -1)]
    assert sorted(values) == weeks
    assert set(values.values()) == {len(COMPANIES) * len(METRICS) * len(users(COMPANIES[0].id))}


def test_history_of_a_day_is_always_the_same() -> None:
    first, again = list(history(NOW.date())), list(history(NOW.date()))
    assert first == again
    assert len({message.id for message in first}) == len(first)


def test_live_events_are_accepted_in_both_forms_and_of_all_kinds() -> None:
    live = Live(random.Random(1))
    seen: Counter[str] = Counter()
    forms: Counter[bool] = Counter()
    companies: Counter[str] = Counter()
    for number in range(1, 1001):
        message = live.next(NOW + timedelta(seconds=number / 10))
        event = accept(message.subject, number, NOW_MS + number * 100, message.payload)
        assert isinstance(event, Event), event
        seen[message.subject.partition(".")[0]] += 1
        forms[b'"metadata"' in message.payload] += 1
        companies[event.company_id] += 1
    assert seen.keys() == {"metrics", "journey", "q2q", "sroi", "vis"}
    assert seen["metrics"] > 400
    assert all(forms.values())
    assert companies.keys() == {company.id for company in COMPANIES}


def test_every_cohort_has_enough_members_to_rank() -> None:
    for company in COMPANIES:
        for cohort in cohorts(company.id):
            members = [
                user
                for user in users(company.id)
                if all(getattr(user, key) == value for key, value in cohort.filters.items())
            ]
            assert len(members) >= 5, (company.id, cohort.name)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b'{"companyId":"a","metricName":"m","value":0.5}', "s a m 0.5"),
        (b'{"type":"x","data":{"companyId":"a","score":0}}', "s a 0"),
        (b'{"companyId":"a"}', "s a"),
        (b"not JSON", "s (not an event)"),
        (b"[1]", "s (not an event)"),
        (b'{"companyId":"\\u001b[2J","flag":"\xc3\xa9"}', "s ?[2J ?"),
        (b"", "s (not an event)"),
    ],
)
def test_the_live_line_describes_any_message(payload: bytes, words: str) -> None:
    assert describe("s", payload) == words
