"""When to open an alert, when to say it again, when it is over. Pure: rows, findings, a clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pipelines.defs.alerts.condition import Condition, Severity

# After the first message, the second, and every later one: who has not acted after a day knows.
PAUSES = (timedelta(hours=1), timedelta(hours=4), timedelta(days=1))
# An alert that comes and goes is told at most once in this time.
REOPEN_PAUSE = timedelta(minutes=5)


@dataclass(frozen=True)
class Alert:
    """A row of the table `alerts`, whose key is (key, opened_at)."""

    key: str
    opened_at: datetime
    severity: Severity
    text: str
    see: str
    next_send_at: datetime
    last_sent_at: datetime | None = None
    sends: int = 0
    told_to: str | None = None
    resolved_at: datetime | None = None
    resolution_sent_at: datetime | None = None

    @property
    def source(self) -> str:
        """Whose finding it is."""
        return self.key.partition("/")[0]


@dataclass(frozen=True)
class Plan:
    """`changed` rows to store before `due` ones are told; `told` is stored after that."""

    changed: tuple[Alert, ...]
    due: tuple[Alert, ...]


def decide(
    alerts: Sequence[Alert],
    conditions: Iterable[Condition],
    unchecked: Set[str],
    receiver: str,
    now: datetime,
) -> Plan:
    """What changes, and what is to be told now.

    Args:
        alerts: open ones, resolved ones of which nobody was told, and those resolved within
            REOPEN_PAUSE.
        conditions: what is wrong, one a key.
        unchecked: sources that could not be asked; nothing is known of theirs, so what is open
            stays open.
        receiver: who will be told.
        now: not earlier than any time in `alerts`, or the message waits until it is.
    """
    found = {condition.key: condition for condition in conditions}
    changed: list[Alert] = []
    current: list[Alert] = []
    for alert in alerts:
        if alert.resolved_at is not None or alert.source in unchecked:
            after = alert
        elif (condition := found.get(alert.key)) is None:
            after = replace(alert, resolved_at=now)
        else:
            after = _follow(alert, condition, now)
        current.append(after)
        if after != alert:
            changed.append(after)
    is_open = {alert.key for alert in alerts if alert.resolved_at is None}
    for key in found.keys() - is_open:
        opened = _open(found[key], alerts, now)
        current.append(opened)
        changed.append(opened)
    due = [alert for alert in current if _is_due(alert, receiver, now)]
    due.sort(key=lambda one: (one.resolved_at is not None, -one.severity.rank, one.opened_at))
    return Plan(tuple(changed), tuple(due))


def told(alert: Alert, receiver: str, now: datetime) -> Alert:
    """The row after its message has arrived."""
    if alert.resolved_at is not None:
        return replace(alert, resolution_sent_at=now, told_to=receiver)
    pause = PAUSES[min(alert.sends, len(PAUSES) - 1)]
    return replace(
        alert,
        last_sent_at=now,
        sends=alert.sends + 1,
        next_send_at=now + pause,
        told_to=receiver,
    )


def _open(condition: Condition, alerts: Sequence[Alert], now: datetime) -> Alert:
    first = now + condition.patience
    for past in alerts:
        if past.key == condition.key and past.resolved_at is not None and past.sends > 0:
            first = max(first, past.resolved_at + REOPEN_PAUSE)
    return Alert(
        key=condition.key,
        opened_at=now,
        severity=condition.severity,
        text=condition.text,
        see=condition.see,
        next_send_at=first,
    )


def _follow(alert: Alert, condition: Condition, now: datetime) -> Alert:
    """The newest words; the worst severity so far, told at once when it became worse."""
    worse = condition.severity.rank > alert.severity.rank
    return replace(
        alert,
        text=condition.text,
        see=condition.see,
        severity=condition.severity if worse else alert.severity,
        next_send_at=min(alert.next_send_at, now)
        if worse and alert.sends > 0
        else alert.next_send_at,
    )


def _is_due(alert: Alert, receiver: str, now: datetime) -> bool:
    if alert.resolved_at is None:
        news = alert.told_to is not None and alert.told_to != receiver
        return news or now >= alert.next_send_at
    # What went by before anybody had to be told is no news.
    was_due = alert.sends > 0 or alert.next_send_at <= alert.resolved_at
    return was_due and alert.resolution_sent_at is None
