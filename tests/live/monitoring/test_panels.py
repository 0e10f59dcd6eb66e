"""Every SQL panel of the dashboards, run as Grafana runs it: on real servers, by its own reader."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from psycopg.conninfo import conninfo_to_dict

from config.settings import Settings
from embedded.postgres import PostgresServer
from pipelines.defs.backups import catalogue
from pipelines.defs.backups.record import Backup, Drill, Dump, Kind
from tests.live.conftest import Backend
from tests.live.monitoring.dashboards import DEPLOY, queries
from tests.live.pipelines.population import add_users

READER = DEPLOY / "postgres" / "create_grafana_reader.sh"
# What a panel shows only when something has gone wrong, or after hours.
MAY_BE_EMPTY = {"cohorts: Slow queries", "cohorts: Filters with an error"}


@pytest.fixture
def nats_url() -> str:
    """Nothing here talks to NATS."""
    return "nats://127.0.0.1:1"


@pytest.fixture
def last_hours() -> dict[str, int]:
    """Grafana's range, as it puts it into a query: epoch milliseconds."""
    now = int(time.time() * 1000)
    return {"__from": now - 3 * 3_600_000, "__to": now + 60_000}


def drilled(backup_id: str, drill: Drill) -> Backup:
    """A full backup that a drill restored."""
    return Backup(
        backup_id=backup_id,
        kind=Kind.FULL,
        base_id=None,
        target="disk backups",
        location=backup_id,
        database="d",
        state="complete",
        started_at=drill.at - timedelta(seconds=drill.rpo_seconds),
        finished_at=drill.at,
        bytes=5,
        duration_seconds=1.0,
        platform=Dump(1, "ab", {}),
        proven_at=drill.at if drill.passed else None,
        drill=drill,
    )


@pytest.fixture
def stocked(ch: Client, pg: psycopg.Connection) -> None:
    """A little of everything that the panels look at."""
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    ch.insert(
        "events",
        [[f"metrics.x-{n}-1", "metric_updated", "c", "u", now, now, n, "{}"] for n in range(5)],
        column_names=[
            *("event_id", "event_type", "company_id", "user_id", "timestamp", "received_at"),
            *("stream_seq", "payload"),
        ],
    )
    ch.command(
        "INSERT INTO reconciliations (hour, company_id, state, streamed, stored) VALUES",
        data=f"('{hour - timedelta(hours=1):%Y-%m-%d %H:%M:%S}', '*', 'complete', 5, 5)",
    )
    (user,) = add_users(pg, "c")
    row = pg.execute(
        "INSERT INTO cohorts (company_id, name) VALUES ('c', 'Mentees') RETURNING id"
    ).fetchone()
    assert row is not None
    ch.command(
        "INSERT INTO cohorts VALUES", data=f"('{row[0]}', 'c', 'Mentees', '', '{{}}', now(), now())"
    )
    ch.command("INSERT INTO user_cohorts VALUES", data=f"('{user}', '{row[0]}', 'c', now())")
    pg.execute(
        "INSERT INTO cohort_watermarks (reader, identity, snapshot)"
        " VALUES ('membership', cohort_change_log_identity(), pg_current_snapshot())"
    )
    catalogue.write(pg, drilled("whole", Drill(now, True, 2.5, 3600.0, ())))
    catalogue.write(pg, drilled("torn", Drill(now, False, 1.5, 7200.0, ("events: part 1",))))
    pg.execute(
        "INSERT INTO alerts (key, opened_at, severity, text, see, next_send_at)"
        " VALUES ('k', now(), 'warning', 'late', 'views', now())"
    )
    pg.execute("SELECT refresh_analytics_materialized_views()")
    pg.execute(
        "INSERT INTO analytics_mv_refreshes (view, status, started_at, duration_seconds,"
        " readers_blocked, source_mark, error, caller)"
        " VALUES ('company_dashboard_mv', 'failed', now(), 1, false, pg_current_snapshot(), 'no',"
        " 'test')"
    )


def test_the_panels_of_clickhouse(
    ch: Client, settings: Settings, stocked: None, last_hours: dict[str, int]
) -> None:
    name = settings.clickhouse_database
    ch.command(f"BACKUP TABLE {name}.events TO Disk('backups', '{name}')")
    ch.command("SYSTEM FLUSH LOGS")
    for query in queries("clickhouse"):
        result = ch.query(query.bound(**last_hours), settings={"readonly": 2})
        assert result.result_rows or query.place in MAY_BE_EMPTY, query
        if query.series:
            assert result.column_names[0] == "time"
            assert result.column_types[0].name.startswith("DateTime")


@pytest.fixture
def reader(backend: Backend, settings: Settings) -> Iterator[psycopg.Connection]:
    """Postgres as the role of `create_grafana_reader.sh`, made by running it twice."""
    url = conninfo_to_dict(settings.database_url.get_secret_value())
    psql = PostgresServer(backend.folder, 1).binary("psql")
    environment = {
        "PATH": f"{psql.parent}:{os.environ['PATH']}",
        "PGHOST": str(url["host"]),
        "PGPORT": str(url["port"]),
        "POSTGRES_USER": str(url["user"]),
        "POSTGRES_DB": str(url["dbname"]),
        "GRAFANA_READER_PASSWORD": "it's ours",
    }
    for _ in range(2):
        subprocess.run(["sh", READER], env=environment, check=True)
    with psycopg.connect(
        settings.database_url.get_secret_value(),
        user="grafana",
        password="it's ours",
        autocommit=True,
    ) as connection:
        yield connection


def test_the_panels_of_postgres_by_a_role_that_can_change_nothing(
    reader: psycopg.Connection, stocked: None, last_hours: dict[str, int]
) -> None:
    for query in queries("postgres"):
        cursor = reader.execute(query.bound(**last_hours))
        assert cursor.fetchall() or query.place in MAY_BE_EMPTY, query
        if query.series:
            assert [column.name for column in cursor.description or ()] == [
                "time",
                "metric",
                "value",
            ]
    board = {query.place: query.bound(**last_hours) for query in queries("postgres")}
    for panel, whole, torn in (("RTO: how long", 2.5, 1.5), ("RPO: age of", 3600.0, 7200.0)):
        [plotted] = [text for place, text in board.items() if panel in place]
        assert {row[1:] for row in reader.execute(plotted)} == {
            ("restored whole", whole),
            ("damaged", torn),
        }
    cursor = reader.execute(board["backups: Backups"])
    names = [column.name for column in cursor.description or ()]
    shown = [dict(zip(names, row, strict=True)) for row in cursor]
    assert [(one["drill_passed"], one["rto_seconds"], one["rpo_seconds"]) for one in shown] == [
        ("true", 2.5, 3600.0),
        ("false", 1.5, 7200.0),
    ]
    # The switch for accidents can be turned off; the missing right can't.
    reader.execute("SET default_transaction_read_only = off")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute("DELETE FROM cohorts")
