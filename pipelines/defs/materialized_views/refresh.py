"""Refresh of one materialised view by the database's own function, which logs it.

The function holds the view's advisory lock, the run log and the isolation of failures, so that a
refresh by the pipeline, by hand and by pg_cron is the same thing.
"""

from dataclasses import dataclass

import psycopg

from sql import statement


@dataclass(frozen=True)
class Refresh:
    """One line of the run log. Exactly one of `rows` and `error` is None.

    `source_mark` is the snapshot whose changes are in the view for certain.
    """

    status: str
    duration_seconds: float
    rows: int | None
    readers_blocked: bool
    source_mark: str
    error: str | None


def refresh_view(pg: psycopg.Connection, view: str, caller: str) -> Refresh:
    """Refresh `view`; a failure is in the answer and in the log, not raised.

    Raises:
        psycopg.errors.UndefinedTable: no such view is listed in analytics_mvs.
    """
    [row] = pg.execute(
        statement("postgres/refresh_materialized_view"), {"view": view, "caller": caller}
    ).fetchall()
    return Refresh(*row)
