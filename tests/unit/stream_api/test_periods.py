"""Days, weeks and months of a time zone, through its changes of the clock."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from stream_api.errors import Refusal
from stream_api.periods import PeriodName, cursor_of, latest_spans, parse_zone, text_behind

OSLO = ZoneInfo("Europe/Oslo")


def test_a_day_of_a_clock_change_has_23_or_25_hours() -> None:
    spring = latest_spans("day", 2, datetime(2025, 3, 31, 12, tzinfo=UTC), OSLO)
    assert [span.start for span in spring] == [
        date(2025, 3, 30),
        date(2025, 3, 31),
        date(2025, 4, 1),
    ]
    assert [(b.start_ms - a.start_ms) / 3_600_000 for a, b in pairwise(spring)] == [23, 24]
    autumn = latest_spans("day", 2, datetime(2025, 10, 27, 12, tzinfo=UTC), OSLO)
    assert (autumn[1].start_ms - autumn[0].start_ms) / 3_600_000 == 25


def test_the_current_period_is_the_zones_own() -> None:
    moment = datetime(2025, 12, 31, 23, 30, tzinfo=UTC)
    assert latest_spans("day", 1, moment, ZoneInfo("UTC"))[0].start == date(2025, 12, 31)
    assert latest_spans("day", 1, moment, OSLO)[0].start == date(2026, 1, 1)
    assert latest_spans("month", 1, moment, OSLO)[0].start == date(2026, 1, 1)


@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("week", [date(2025, 12, 22), date(2025, 12, 29), date(2026, 1, 5)]),
        ("month", [date(2025, 12, 1), date(2026, 1, 1), date(2026, 2, 1)]),
    ],
)
def test_weeks_begin_on_monday_and_months_on_their_first(
    name: PeriodName, starts: list[date]
) -> None:
    spans = latest_spans(name, 2, datetime(2026, 1, 2, tzinfo=UTC), ZoneInfo("UTC"))
    assert [span.start for span in spans] == starts


@pytest.mark.parametrize("name", ["Mars/Base", "", "../etc/passwd", "Europe", "UTC\0", "ø" * 60])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(Refusal, match="timezone"):
        parse_zone(name)


@pytest.mark.parametrize("text", ["", "a", "Ærlig & co", "x" * 200, "日本"])
def test_a_cursor_continues_behind_its_text(text: str) -> None:
    assert text_behind(cursor_of(text)) == text


@pytest.mark.parametrize("cursor", ["%%%", "ä", "_w", "AA", "a"])
def test_a_cursor_of_somebody_else_is_refused(cursor: str) -> None:
    with pytest.raises(Refusal, match="cursor"):
        text_behind(cursor)
