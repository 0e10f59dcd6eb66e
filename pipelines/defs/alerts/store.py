"""The table `alerts` in Postgres: a restart of anything neither forgets nor repeats a message."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta

import psycopg

from pipelines.defs.alerts.condition import Severity
from pipelines.defs.alerts.decision import Alert
from sql import statement

KEEP_RESOLVED = timedelta(days=90)


def read_alerts(pg: psycopg.Connection, resolved_since: datetime) -> list[Alert]:
    """Open alerts, those whose end nobody was told of, and those resolved since then."""
    found = pg.execute(
        statement("postgres/select_alerts"), {"resolved_since": resolved_since}
    ).fetchall()
    return [Alert(key, opened, Severity(severity), *rest) for key, opened, severity, *rest in found]


def save_alerts(pg: psycopg.Connection, alerts: Iterable[Alert]) -> None:
    """Write all of them or none."""
    with pg.transaction(), pg.cursor() as cursor:
        cursor.executemany(statement("postgres/upsert_alert"), [asdict(one) for one in alerts])


def prune_alerts(pg: psycopg.Connection, now: datetime) -> int:
    """Forget what is over for long; returns how many."""
    return pg.execute(
        statement("postgres/prune_alerts"), {"resolved_before": now - KEEP_RESOLVED}
    ).rowcount
