"""How often each view is to be refreshed, and from when on it is late.

The table `analytics_mvs` says it. What is due at a moment is a function of the database, which
pg_cron calls too; what is late is decided here alone: for Dagster's freshness policies, for alerts
and for `analytics doctor`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import psycopg

from config import SettingsError
from pipelines.databases import environment_settings
from pipelines.defs.alerts.condition import span
from sql import statement

# The schedule's own ticks, and a fresh installation's cadence.
TICK_MINUTES = 5
# So many refreshes may be missed before people hear of it.
WARNED_AFTER, LATE_AFTER = 2, 3
# Definitions are loaded without Postgres as well, only not quickly when it does not answer.
LOAD_TIMEOUT_SECONDS = 2


class Cadence(NamedTuple):
    """Minutes between refreshes, and the hours (UTC) in which they may be: from `first_hour` until
    before `last_hour`, over midnight too; at any time when both are None.
    """

    every_minutes: int = TICK_MINUTES
    first_hour: int | None = None
    last_hour: int | None = None

    @property
    def closed(self) -> timedelta:
        """How long of each day it is not refreshed."""
        if self.first_hour is None or self.last_hour is None:
            return timedelta()
        return timedelta(hours=24 - (self.last_hour - self.first_hour) % 24)

    @property
    def warned_after(self) -> timedelta:
        """Age at which one refresh was missed."""
        return self.closed + timedelta(minutes=WARNED_AFTER * self.every_minutes + 1)

    @property
    def late_after(self) -> timedelta:
        """Age at which its data is older than the cadence can explain."""
        return self.closed + timedelta(minutes=LATE_AFTER * self.every_minutes + 1)

    def __str__(self) -> str:
        hours = "" if self.first_hour is None else f" from {self.first_hour} to {self.last_hour} h"
        return f"every {span(60 * self.every_minutes)}{hours}"


class ViewState(NamedTuple):
    """Age of a view's data in seconds (None: never filled), changed source rows that are not in it,
    the error of its last refresh, and its cadence.
    """

    view: str
    age: float | None
    changes: int | None
    error: str | None
    cadence: Cadence

    @property
    def late(self) -> bool:
        """Whether its cadence has been missed."""
        return self.age is None or self.age > self.cadence.late_after.total_seconds()

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
        if self.late:
            return f"{self.view} is not refreshed {self.cadence}: {old}"
        return None


def read_view_states(pg: psycopg.Connection) -> list[ViewState]:
    """All views that `analytics_mvs` lists, in its order."""
    found = pg.execute(statement("postgres/select_view_states")).fetchall()
    return [
        ViewState(view, age, changes, error, Cadence(*cadence))
        for view, age, changes, error, *cadence in found
    ]


def due_views(pg: psycopg.Connection, moment: datetime) -> list[str]:
    """Views that a schedule has to refresh at `moment`."""
    rows = pg.execute(statement("postgres/select_due_views"), {"moment": moment})
    return [view for (view,) in rows]


def declared_cadences() -> dict[str, Cadence]:
    """The cadence of each view as the platform's database has it while definitions are loaded.

    Empty where it can't be asked: then those of a fresh installation count until the next load.
    """
    try:
        url = environment_settings().database_url.get_secret_value()
        with psycopg.connect(
            url,
            connect_timeout=LOAD_TIMEOUT_SECONDS,
            options=f"-c statement_timeout={LOAD_TIMEOUT_SECONDS}s",
        ) as pg:
            rows = pg.execute(statement("postgres/select_view_cadences")).fetchall()
            return {view: Cadence(*cadence) for view, *cadence in rows}
    except (psycopg.Error, SettingsError):
        return {}
