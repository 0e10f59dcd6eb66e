"""Days, weeks and months of a time zone, and what a page continues behind."""

from __future__ import annotations

import base64
import binascii
import uuid
from datetime import date, datetime, time, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from stream_api.errors import Refusal

PeriodName = Literal["day", "week", "month"]


class Span(NamedTuple):
    """A period: its first day in its time zone, and its first millisecond of the epoch."""

    start: date
    start_ms: int


def parse_zone(name: str) -> ZoneInfo:
    """The IANA time zone of that name.

    Raises:
        Refusal: 400 when there is none.
    """
    try:
        return ZoneInfo(name)
    # A name that is a folder or no path at all fails in ways of its own.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Refusal(
            400, f"timezone {name[:60]!r} is not known; use an IANA name such as Europe/Oslo"
        ) from None


def latest_spans(name: PeriodName, periods: int, now: datetime, zone: ZoneInfo) -> list[Span]:
    """The latest `periods` periods, ascending, the one that `now` is in last; and the next one.

    A day is from midnight to midnight of the zone, so it may have 23 or 25 hours. Weeks begin on
    Monday.
    """
    start = _first_day(name, now.astimezone(zone).date())
    starts = [_next(name, start)]
    for _ in range(periods):
        starts.append(start)
        start = _first_day(name, start - timedelta(days=1))
    return [Span(day, _first_ms(day, zone)) for day in reversed(starts)]


def _first_day(name: PeriodName, day: date) -> date:
    if name == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if name == "month" else day


def _next(name: PeriodName, start: date) -> date:
    # The first of a month and 31 days lie in the next one.
    length = {"day": 1, "week": 7, "month": 31}[name]
    return _first_day(name, start + timedelta(days=length))


def _first_ms(day: date, zone: ZoneInfo) -> int:
    return int(datetime.combine(day, time(), zone).timestamp() * 1000)


def cursor_of(text: str) -> str:
    """A cursor that continues behind `text`."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def text_behind(cursor: str) -> str:
    """What `cursor_of` was given.

    Raises:
        Refusal: 400 when it is not one of ours.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise Refusal(400, BAD_CURSOR) from None
    if "\0" in text:
        raise Refusal(400, BAD_CURSOR)
    return text


def id_behind(cursor: str) -> str:
    """A user's id that a page continues behind."""
    try:
        return str(uuid.UUID(text_behind(cursor)))
    except ValueError:
        raise Refusal(400, BAD_CURSOR) from None


def day_behind(cursor: str) -> date:
    """The day after the last one of the page before."""
    try:
        return date.fromordinal(date.fromisoformat(cursor).toordinal() + 1)
    except (ValueError, OverflowError):
        raise Refusal(400, BAD_CURSOR) from None


BAD_CURSOR = "cursor is not one of ours; use nextCursor of the page before"
