"""What `make up` runs, as data: the table of contents of the embedded system.

postgres ─┬─ databases ─┬─ migrations ─┬─ demo rows ──┐
clickhouse ─────────────┘              ├─ sidecar ────┴─ demo
nats ──────────────────────────────────┘
            databases ─ dagster-code ─┬─ dagster-ui
                                      └─ dagster-daemon
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

import clickhouse_connect
import psycopg

from config import Settings
from config.addresses import LOOPBACK
from embedded import dagster_parts
from embedded.addresses import Addresses
from embedded.clickhouse_part import ClickHouseServer
from embedded.demo import rows
from embedded.nats import NatsServer
from embedded.part import Part, Step
from embedded.ports import free_port
from embedded.postgres import DAGSTER_DATABASE, PLATFORM_DATABASE, PostgresServer
from embedded.probes import answers_ok
from sql.bridge import connect_postgres
from sql.migrations import ClickHouseMigrations, PostgresMigrations


@dataclass(frozen=True)
class Plan:
    """Everything that one `make up` starts. `notes` are lines to show beforehand."""

    parts: tuple[Part, ...]
    steps: tuple[Step, ...]
    notes: tuple[str, ...]


def whole(addresses: Addresses) -> Plan:
    """The whole system on this machine.

    Raises:
        ChildError: a server's package is missing, or Postgres has no account to run under.
    """
    settings = addresses.settings
    data = settings.analytics_data.absolute()
    postgres = PostgresServer(data / "postgres", settings.postgres_port)
    dagster_home = data / "dagster"
    code_port = free_port()
    dagster_parts.write_home(dagster_home, code_port)
    parts: tuple[Part, ...] = (
        postgres.part(),
        NatsServer(data / "nats", settings.nats_port).part(),
        ClickHouseServer(
            data / "clickhouse", settings.clickhouse_port, backups=data / "backups"
        ).part(),
        Part(
            name="sidecar",
            command=(sys.executable, "-m", "stream_api"),
            after=("migrations", "nats"),
            ready=lambda: answers_ok(addresses.api_host, settings.port_analytics, "/health/ready"),
            # It says goodbye to its streams and finishes the batch in hand.
            stop_seconds=5.0,
        ),
        *dagster_parts.parts(
            dagster_home,
            postgres,
            ui_port=settings.dagster_port,
            code_port=code_port,
            after=("databases",),
        ),
    )
    steps: tuple[Step, ...] = (
        Step("databases", lambda: _create_databases(postgres), after=("postgres",)),
        Step("migrations", lambda: migrate(settings), after=("databases", "clickhouse")),
    )
    if settings.demo:
        demo = Part(
            name="demo",
            command=(sys.executable, "-m", "embedded.demo"),
            after=("sidecar", "demo rows"),
            ready=lambda: True,  # it serves nothing; its events show it
            stop_seconds=1.0,
        )
        parts = (*parts, demo)
        steps = (*steps, Step("demo rows", lambda: _insert_demo(settings), after=("migrations",)))
    else:
        steps = (*steps, Step("no demo", lambda: _remains(settings), after=("migrations",)))
    return Plan(parts, steps, (postgres.note,) if postgres.note else ())


def migrate(settings: Settings) -> str:
    """Bring both databases to this version. Returns what was done, for a person."""
    with (
        psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection,
        contextlib.closing(
            clickhouse_connect.get_client(
                host=settings.clickhouse_host or LOOPBACK,
                port=settings.clickhouse_port,
                username=settings.clickhouse_user,
                autogenerate_session_id=False,
            )
        ) as client,
    ):
        platform = PostgresMigrations(connection)
        warehouse = ClickHouseMigrations(client, settings.clickhouse_database)
        with platform.lock():
            applied = len(platform.apply()) + len(warehouse.apply())
            connect_postgres(
                client, settings.clickhouse_database, settings.database_url.get_secret_value()
            )
    return f"{applied} applied" if applied else "nothing to do"


def _create_databases(postgres: PostgresServer) -> str:
    postgres.create_databases((PLATFORM_DATABASE, DAGSTER_DATABASE))
    return ""


def _insert_demo(settings: Settings) -> str:
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        return f"{rows.insert(connection, datetime.now(UTC).date())} new"


def _remains(settings: Settings) -> str:
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        if rows.present(connection):
            return "but an earlier start left demo companies here; `make clean` begins anew"
    return ""
