"""Materialised views that could not be refreshed, or were not when they should have been."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

import psycopg

from pipelines.defs.alerts.condition import Condition, Severity, span
from sql import statement

# Three refreshes were missed, or with hours of its own a whole day and three.
MISSED = 3
DAY_SECONDS = 86400
PATIENCE = timedelta(minutes=2)


class ViewState(NamedTuple):
    """Age of a view's data in seconds (None: never filled), changed source rows that are not in it,
    the error of its last refresh, and its cadence.
    """

    view: str
    age: float | None
    changes: int | None
    error: str | None
    every_minutes: int
    has_hours: bool

    @property
    def overdue(self) -> bool:
        """Whether its cadence has been missed."""
        limit = (MISSED * self.every_minutes + 1) * 60 + (DAY_SECONDS if self.has_hours else 0)
        return self.age is None or self.age > limit

    @property
    def said(self) -> str | None:
        """What is wrong with it, in a line; None when nothing is."""
        old = (
            "it was never filled"
            if self.age is None
            else f"its data is {span(self.age)} old, {self.changes} changed source rows are not in "
            "it"
        )
        if self.error is not None:
            return f"{self.view} could not be refreshed: {self.error}; {old}"
        if self.overdue:
            return f"{self.view} is not refreshed every {self.every_minutes} min: {old}"
        return None


def read_view_states(pg: psycopg.Connection) -> list[ViewState]:
    """All views that `analytics_mvs` lists."""
    found = pg.execute(statement("postgres/select_view_states")).fetchall()
    return [ViewState(*row) for row in found]


def stale_views(pg: psycopg.Connection) -> Iterator[Condition]:
    """One condition a view: its error and the age of what readers see."""
    for state in read_view_states(pg):
        if state.said is not None:
            patience = PATIENCE if state.error is None else timedelta(0)
            yield Condition(
                f"view/{state.view}", Severity.ERROR, state.said, "alert-view", patience
            )
