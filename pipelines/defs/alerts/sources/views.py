"""Materialised views that could not be refreshed, or were not when they should have been."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import psycopg

from pipelines.defs.alerts.condition import Condition, Severity, span
from sql import statement

# Three refreshes were missed, or with hours of its own a whole day and three.
MISSED = 3
DAY_SECONDS = 86400
PATIENCE = timedelta(minutes=2)


def stale_views(pg: psycopg.Connection) -> Iterator[Condition]:
    """One condition a view: its error and the age of what readers see."""
    for view, age, changes, error, every_minutes, has_hours in pg.execute(
        statement("postgres/select_view_states")
    ):
        old = (
            "it was never filled"
            if age is None
            else f"its data is {span(age)} old, {changes} changed source rows are not in it"
        )
        limit = (MISSED * every_minutes + 1) * 60 + (DAY_SECONDS if has_hours else 0)
        if error is not None:
            text, patience = f"{view} could not be refreshed: {error}; {old}", timedelta(0)
        elif age is None or age > limit:
            text, patience = f"{view} is not refreshed every {every_minutes} min: {old}", PATIENCE
        else:
            continue
        yield Condition(f"view/{view}", Severity.ERROR, text, "alert-view", patience)
