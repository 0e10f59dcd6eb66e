"""The demo's events: a random walk a user and metric, in both payload forms that producers use."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from embedded.demo.people import COMPANIES, METRICS, User, users

HISTORY_PERIODS: Final = 12
# Of the range between a metric's limits: a step of the walk, and its drift a week.
STEP: Final = 0.012
DRIFT: Final = 0.004
KINDS: Final = {"metric": 11, "journey": 3, "q2q": 2, "sroi": 2, "vis": 2}
FLAGS: Final = ("first_meeting", "goal_set", "milestone_reached", "feedback_given")


@dataclass(frozen=True)
class Message:
    """What goes on the wire; `id` is the producer's own, for the stream's duplicate window."""

    subject: str
    payload: bytes
    id: str


def week_of(day: date) -> date:
    """The Monday that names the day's period."""
    return day - timedelta(days=day.weekday())


def history(today: date) -> Iterator[Message]:
    """One value a user, metric and week, oldest first. The same day gives the same messages."""
    this_week = week_of(today)
    for age in range(HISTORY_PERIODS, 0, -1):
        week = this_week - timedelta(weeks=age)
        moment = datetime(week.year, week.month, week.day, 12, tzinfo=UTC) + timedelta(days=2)
        for company in COMPANIES:
            for user in users(company.id):
                for metric, (low, high, _) in METRICS.items():
                    chance = random.Random(f"{user.id}{metric}{week}")
                    drift = (HISTORY_PERIODS - age) * DRIFT + chance.gauss(0, STEP * 2)
                    value = min(high, max(low, user.start_of(metric) + drift * (high - low)))
                    name = f"history-{user.id}-{metric}-{week}"
                    yield _metric(user, metric, value, moment, name, envelope=age % 2 == 0)


class Live:
    """Endless events of now. `chance` and the times come from the caller."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._values: dict[tuple[uuid.UUID, str], float] = {}
        self._scores: dict[str, float] = {company.id: 0.7 for company in COMPANIES}

    def next(self, now: datetime) -> Message:
        chance = self._chance
        company = chance.choices(COMPANIES, [company.weight for company in COMPANIES])[0]
        user = chance.choice(users(company.id))
        kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
        name = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        envelope = chance.random() < 0.3
        if kind == "metric":
            metric = chance.choice(list(METRICS))
            value = self._walk(user, metric)
            return _metric(user, metric, value, now, name, envelope=envelope)
        subject, fields = self._other(kind, user)
        return _message(subject, user, fields, now, name, envelope=envelope)

    def _walk(self, user: User, metric: str) -> float:
        low, high, _ = METRICS[metric]
        last = self._values.get((user.id, metric), user.start_of(metric) + DRIFT * HISTORY_PERIODS)
        value = min(high, max(low, last + self._chance.gauss(0, STEP) * (high - low)))
        self._values[user.id, metric] = value
        return value

    def _other(self, kind: str, user: User) -> tuple[str, dict[str, object]]:
        chance = self._chance
        if kind == "journey":
            flag = chance.choice(FLAGS)
            return "journey.flag.updated", {"flag": flag, "value": True, "stage": user.stage}
        if kind == "sroi":
            ratio = round(chance.gauss(3.4, 0.25), 2)
            return "sroi.calculated", {"ratio": ratio, "program": user.program}
        score = min(1.0, max(0.0, self._scores[user.company_id] + chance.gauss(0, 0.01)))
        self._scores[user.company_id] = score
        if kind == "q2q":
            return "q2q.completed", {"dimension": "belonging", "score": round(score, 3)}
        return "vis.score.updated", {"score": round(score * 100, 1), "hours": chance.randint(1, 6)}


def _metric(
    user: User,
    metric: str,
    value: float,
    moment: datetime,
    name: str,
    *,
    envelope: bool,
) -> Message:
    fields = {
        "metricName": metric,
        "value": round(value, 4),
        "periodStart": week_of(moment.date()).isoformat(),
        "dimensions": {"language": user.language, "program": user.program},
    }
    return _message("metrics.calculated", user, fields, moment, name, envelope=envelope)


def _message(
    subject: str,
    user: User,
    fields: dict[str, object],
    moment: datetime,
    name: str,
    *,
    envelope: bool,
) -> Message:
    body: dict[str, object] = {"companyId": user.company_id, "userId": str(user.id), **fields}
    timestamp = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if envelope:
        metadata = {"id": name, "timestamp": timestamp, "source": "demo"}
        body = {"type": subject, "data": body, "metadata": metadata}
    else:
        body["timestamp"] = timestamp
    return Message(subject, json.dumps(body).encode(), name)
