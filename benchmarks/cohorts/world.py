"""A backend of its own with generated cohorts, members and metric rows, and a sidecar on it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import clickhouse_connect
import psycopg
from clickhouse_connect.driver.client import Client

from config import load_settings
from embedded.child import Child, start_together
from embedded.clickhouse_part import ClickHouseServer
from embedded.nats import NatsServer
from embedded.part import Part
from embedded.ports import free_port
from embedded.postgres import PostgresServer
from pipelines.databases import Databases
from sql.migrations import ClickHouseMigrations, PostgresMigrations

ROWS, USERS, COHORTS = 10_000_000, 200_000, 1000
# With users and cohorts spread as they are, this makes a million memberships.
MEMBER_PERCENT = 43
BATCHES = 20
# The share of late rows: they come after the merges, as a second part of every month.
LATE = 0.005
CLICKHOUSE_MEMORY_MB = 4096
FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class World:
    """Where everything answers, and the cohorts of each company."""

    url: str
    clickhouse: Client
    cohorts: dict[str, list[str]]
    rows: int
    members: int
    load_seconds: float


@contextmanager
def databases() -> Iterator[tuple[psycopg.Connection, Client]]:
    """Empty ones with all tables, and connections to them as the pipelines have them."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="analytics-benchmark-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = PostgresServer(folder / "postgres", free_port())
        clickhouse = ClickHouseServer(folder / "clickhouse", free_port())
        children = [
            Child(one.part(), folder / "logs", os.environ) for one in (postgres, clickhouse)
        ]
        for child in children:
            stack.callback(child.stop)
        start_together(children)
        postgres.create_databases(["teei_platform"])
        settings = load_settings(
            {
                "DATABASE_URL": postgres.url(),
                "CLICKHOUSE_HOST": "127.0.0.1",
                "CLICKHOUSE_PORT": str(clickhouse.port),
            }
        )
        with clickhouse_connect.get_client(host="127.0.0.1", port=clickhouse.port) as client:
            ClickHouseMigrations(client, settings.clickhouse_database).apply()
        opener = Databases(lambda: settings)
        pg = stack.enter_context(opener.postgres())
        PostgresMigrations(pg).apply()
        yield pg, stack.enter_context(opener.clickhouse())


@contextmanager
def world(scale: float) -> Iterator[World]:
    """Start, fill and stop everything; `scale` 1 is 10 million rows."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="analytics-benchmark-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = PostgresServer(folder / "postgres", free_port(), durable=False)
        clickhouse = ClickHouseServer(
            folder / "clickhouse", free_port(), memory_mb=CLICKHOUSE_MEMORY_MB
        )
        nats = NatsServer(folder / "nats", free_port())
        children = [
            Child(one.part(), folder / "logs", os.environ) for one in (postgres, clickhouse)
        ]
        children.append(Child(nats.part(), folder / "logs", os.environ))
        for child in children:
            stack.callback(child.stop)
        start_together(children)
        started = time.monotonic()
        cohorts = _fill_postgres(postgres)
        client = clickhouse_connect.get_client(
            host="127.0.0.1",
            port=clickhouse.port,
            username="teei",
            autogenerate_session_id=False,
            send_receive_timeout=600,
        )
        stack.callback(client.close)
        ClickHouseMigrations(client, "teei_analytics").apply()
        client.database = "teei_analytics"
        fill_clickhouse(client, scale)
        seconds = time.monotonic() - started
        port = free_port()
        sidecar = Child(
            _sidecar(port, postgres.url(), clickhouse.port, nats.url), folder / "logs", os.environ
        )
        stack.callback(sidecar.stop)
        start_together([sidecar])
        counts = client.query("SELECT count() FROM metrics_timeseries").result_rows[0][0]
        members = client.query("SELECT count() FROM user_cohorts").result_rows[0][0]
        yield World(f"http://127.0.0.1:{port}", client, cohorts, counts, members, seconds)


def fill_clickhouse(client: Client, scale: float) -> None:
    """Rows and members; the same for the same scale."""
    rows, users = int(ROWS * scale), int(USERS * scale)
    on_time = int(rows * (1 - LATE))
    batch = on_time // BATCHES

    def insert(first: int, count: int) -> None:
        client.command(
            _text("insert_metrics"),
            {"users": users, "first": first, "rows": count},
            settings={"max_partitions_per_insert_block": 0},
        )

    for number in range(BATCHES):
        insert(number * batch, batch)
    client.command(
        _text("insert_members"),
        {"users": users, "cohorts": COHORTS, "percent": MEMBER_PERCENT},
    )
    # A server that is not being filled merges a past month down to one part.
    client.command("OPTIMIZE TABLE metrics_timeseries FINAL")
    insert(BATCHES * batch, rows - BATCHES * batch)


def _fill_postgres(postgres: PostgresServer) -> dict[str, list[str]]:
    postgres.create_databases(["teei_platform"])
    cohorts: dict[str, list[str]] = {}
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        PostgresMigrations(connection).apply()
        for company, cohort in connection.execute(_text("insert_cohorts"), {"cohorts": COHORTS}):
            cohorts.setdefault(company, []).append(cohort)
    return cohorts


def _text(name: str) -> LiteralString:
    return (FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def _sidecar(port: int, database_url: str, clickhouse_port: int, nats_url: str) -> Part:
    import httpx

    def ready() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    return Part(
        "sidecar",
        (sys.executable, "-m", "stream_api"),
        ready=ready,
        environment={
            "PORT_ANALYTICS": str(port),
            "DATABASE_URL": database_url,
            "CLICKHOUSE_PORT": str(clickhouse_port),
            "CLICKHOUSE_HOST": "127.0.0.1",
            "NATS_URL": nats_url,
            # What is measured is the answer, not the refusal.
            "COHORT_QUERIES_PER_MINUTE": "10000000",
        },
        ready_seconds=30,
    )
