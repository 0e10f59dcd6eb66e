"""Materialised views that could not be refreshed, or were not when they should have been."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import psycopg

from pipelines.defs.alerts.condition import Condition, Severity
from pipelines.defs.materialized_views.cadence import read_view_states

PATIENCE = timedelta(minutes=2)


def stale_views(pg: psycopg.Connection) -> Iterator[Condition]:
    """One condition a view: its error and the age of what readers see."""
    for state in read_view_states(pg):
        if state.said is not None:
            patience = PATIENCE if state.error is None else timedelta(0)
            yield Condition(
                f"view/{state.view}", Severity.ERROR, state.said, "alert-view", patience
            )
