"""One tick: look everywhere, decide, store, tell, store that it was told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from pipelines.defs.alerts.condition import Condition, Severity
from pipelines.defs.alerts.decision import REOPEN_PAUSE, Alert, decide, told
from pipelines.defs.alerts.message import compose
from pipelines.defs.alerts.receiver import Receiver
from pipelines.defs.alerts.store import prune_alerts, read_alerts, save_alerts

# Anything may be away for the length of its own restart.
UNCHECKED_PATIENCE = timedelta(minutes=2)
UNCHECKED = "unchecked"

Look = Callable[[], Iterable[Condition]]


@dataclass(frozen=True)
class Tick:
    """What a tick found and did."""

    open: tuple[Alert, ...]
    told: tuple[Alert, ...]
    unchecked: Mapping[str, str]
    answer: str | None

    @property
    def summary(self) -> str:
        """One line for the tick's history."""
        keys = ", ".join(alert.key for alert in self.open)
        line = f"{len(self.open)} open{': ' + keys if keys else ''}"
        return f"{line}; told {len(self.told)}: {self.answer}" if self.told else line


def evaluate(
    pg: psycopg.Connection,
    looks: Mapping[str, Look],
    receiver: Receiver,
    mask: Callable[[str], str],
    now: datetime,
) -> Tick:
    """Do one tick.

    Args:
        pg: in autocommit mode.
        looks: by the name of the source, which begins the keys of its conditions.
        mask: takes secrets out of a text, applied to all of them.

    Raises:
        NotDeliveredError: everything is stored, nothing counts as told; the next tick tells it.
        psycopg.Error: nothing is known, nothing was told.
    """
    conditions, failed = look_everywhere(looks, mask)
    alerts = read_alerts(pg, now - REOPEN_PAUSE)
    plan = decide(alerts, conditions, failed.keys(), receiver.name, now)
    save_alerts(pg, plan.changed)
    answer = None
    if plan.due:
        answer = receiver.send(compose(plan.due, now))
        save_alerts(pg, [told(alert, receiver.name, now) for alert in plan.due])
    prune_alerts(pg, now)
    current = {(alert.key, alert.opened_at): alert for alert in (*alerts, *plan.changed)}
    still_open = tuple(one for one in current.values() if one.resolved_at is None)
    return Tick(still_open, plan.due, failed, answer)


def look_everywhere(
    looks: Mapping[str, Look], mask: Callable[[str], str]
) -> tuple[list[Condition], dict[str, str]]:
    """What is wrong, and why some sources could not be asked: that is trouble of its own."""
    conditions: list[Condition] = []
    failed: dict[str, str] = {}
    for name, look in looks.items():
        try:
            found = list(look())
        # Whatever a driver raises: not knowing is reported as not knowing, never as good or bad.
        except Exception as error:
            failed[name] = mask(f"{type(error).__name__}: {error}")
            conditions.append(
                Condition(
                    f"{UNCHECKED}/{name}",
                    Severity.ERROR,
                    f"{name} could not be checked: {failed[name]}",
                    "alert-unchecked",
                    UNCHECKED_PATIENCE,
                )
            )
            continue
        conditions += [
            Condition(one.key, one.severity, mask(one.text), one.see, one.patience) for one in found
        ]
    return conditions, failed
