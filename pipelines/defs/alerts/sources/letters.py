"""Dead letters that came in lately and wait for a decision."""

from __future__ import annotations

from collections.abc import Iterator

from clickhouse_connect.driver.client import Client

from pipelines.defs.alerts.condition import Condition, Severity
from pipelines.defs.dead_letters.growth import count_open, describe

# A producer that is wrong about everything; some letters are everyday life.
MANY = 1000


def new_letters(ch: Client) -> Iterator[Condition]:
    """A warning while some of the last hour are open, an error when they are many."""
    letters = count_open(ch)
    recent = sum(letters.recent.values())
    if recent:
        yield Condition(
            "letters/recent",
            Severity.ERROR if recent >= MANY else Severity.WARNING,
            f"dead letters came in {describe(letters)}",
            "alert-letters",
        )
