"""A year as plain Python knows it: what was sent, what is due, which backups are kept.

Nothing here asks the product. Rows are text made from numbers, days are subtracted from days, and
the rule of pruning is walked backwards over a list.
"""

from __future__ import annotations

import calendar
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID, uuid5

BEGIN, END = date(2025, 11, 1), date(2026, 10, 31)
DAY = timedelta(days=1)
EVENTS_DAYS, AGGREGATES_DAYS, BACKUP_DAYS = 14, 75, 14
COMPANIES = ("alpha", "brief", "delta", "long")
# Company → days that its events are kept, while it has days of its own.
OWN_DAYS = {"brief": 5, "long": 25}
EVENTS_A_COMPANY = 5
SPACE = UUID("00000000-0000-0000-0000-00000000babe")


def every_day() -> Iterator[date]:
    day = BEGIN
    while day <= END:
        yield day
        day += DAY


def moment(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), UTC)


@dataclass(frozen=True)
class Sent:
    """One metric event. `ms` is the stream's time."""

    day: date
    company: str
    user: UUID
    seq: int

    @property
    def ms(self) -> int:
        return int(moment(self.day, 0).timestamp() * 1000) + self.seq % 3_000_000

    @property
    def event_id(self) -> str:
        return f"metrics.calculated-{self.seq}-{self.ms}"

    @property
    def payload(self) -> str:
        return json.dumps(
            {
                "companyId": self.company,
                "userId": str(self.user),
                "metricName": "score",
                "value": self.seq % 97,
                "periodStart": self.day.isoformat(),
            },
            separators=(",", ":"),
        )


@dataclass
class Year:
    """What must be there: events, metric rows, users by company (all of them in its cohort)."""

    events: list[Sent] = field(default_factory=list)
    metrics: list[Sent] = field(default_factory=list)
    own_days: dict[str, int] = field(default_factory=dict)
    last_seq: int = 0
    users: dict[UUID, str] = field(default_factory=dict)
    # Moments of backups, and whether each is full; each other one stands on the one before it.
    taken: list[tuple[datetime, bool]] = field(default_factory=list)
    proven: datetime | None = None

    def send(self, day: date) -> list[Sent]:
        """The day's events: each company's users by turns."""
        sent = []
        for company in COMPANIES:
            own = sorted(user for user, theirs in self.users.items() if theirs == company)
            for number in range(EVENTS_A_COMPANY):
                self.last_seq += 1
                sent.append(
                    Sent(day, company, own[(day.toordinal() + number) % len(own)], self.last_seq)
                )
        self.events += sent
        self.metrics += sent
        return sent

    def join(self, day: date) -> list[tuple[UUID, str]]:
        """A user a company joins on the first of each month."""
        joined = [(uuid5(SPACE, f"{company} {day}"), company) for company in COMPANIES]
        self.users.update(joined)
        return joined

    def forget(self, user: UUID) -> None:
        del self.users[user]
        self.events = [one for one in self.events if one.user != user]
        self.metrics = [one for one in self.metrics if one.user != user]

    def retire(self, today: date) -> None:
        """What goes in a night: events by their company's days, metric rows by whole months."""
        oldest = today - AGGREGATES_DAYS * DAY
        self.events = [
            one
            for one in self.events
            if one.day >= today - self.own_days.get(one.company, EVENTS_DAYS) * DAY
        ]
        self.metrics = [
            one
            for one in self.metrics
            if (one.day.year, one.day.month) >= (oldest.year, oldest.month)
        ]

    def events_by_day(self) -> Counter[tuple[str, date]]:
        return Counter((one.company, one.day) for one in self.events)

    def back_up(self, at: datetime, full: bool) -> None:
        self.taken.append((at, full or not self.taken))

    @property
    def moments(self) -> list[datetime]:
        """Of the backups that are kept."""
        return [at for at, _ in self.taken]

    def prune(self, now: datetime) -> None:
        """What stays: the backups of the last days, the one before them, the one proven last, and
        from each back to its full one.
        """
        moments = self.moments
        before = [at for at in moments if at <= now - BACKUP_DAYS * DAY]
        wanted = [at for at in moments if at not in before] + before[-1:]
        wanted += [self.proven] if self.proven else []
        kept = set()
        for one in wanted:
            number = moments.index(one)
            kept.add(one)
            while not self.taken[number][1]:
                number -= 1
                kept.add(moments[number])
        self.taken = [one for one in self.taken if one[0] in kept]


def is_sunday(day: date) -> bool:
    return day.weekday() == calendar.SUNDAY
