"""`python -m benchmarks.backups [--events 50000000]`: full backup, increment, drill and restore.

A fresh embedded backend in a temporary folder (TMPDIR chooses the disk), 30 days of events; one
day more before the incremental backup. What is printed is what `benchmarks/README.md` quotes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
from clickhouse_connect.driver.client import Client
from nats.aio.client import Client as Nats
from pydantic import SecretStr

from config import Settings
from embedded.child import Child, start_together
from embedded.clickhouse_part import ClickHouseServer
from embedded.nats import NatsServer
from embedded.ports import free_port
from embedded.postgres import PLATFORM_DATABASE, PostgresServer
from pipelines.databases import Databases
from pipelines.defs.backups.backup import take_backup
from pipelines.defs.backups.drill import run_drill
from pipelines.defs.backups.record import Kind
from pipelines.defs.backups.restore import restore
from pipelines.defs.backups.restore_plan import make_plan
from sql.migrations import ClickHouseMigrations, PostgresMigrations
from stream_api.streams import ensure_streams

BEGIN = date(2026, 10, 1)
DAYS = 30
# A day in a few inserts; a larger one would need more memory than a query may have.
INSERT_ROWS = 1_000_000
STATEMENT_SECONDS = 6 * 3600
MEMORY_MB = 4096
MB = 1_000_000


def fill(ch: Client, total: int, first: int, count: int) -> None:
    """Events `first` … of `total` that are spread over the days."""
    text = Path(__file__).with_name("insert_events.sql").read_text(encoding="utf-8")
    for start in range(first, first + count, INSERT_ROWS):
        ch.command(
            text,
            parameters={
                **{"begin": BEGIN, "days": DAYS, "total": total},
                **{"first": start, "count": min(INSERT_ROWS, first + count - start)},
            },
        )


def size_on_disk(ch: Client) -> int:
    """Bytes of all active parts."""
    [(size,)] = ch.query(
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()"
    ).result_rows
    return int(size)


def run(events: int, folder: Path) -> None:
    """Print a line a step."""
    data = folder / "data"
    postgres = PostgresServer(data / "postgres", free_port())
    clickhouse = ClickHouseServer(
        data / "clickhouse", free_port(), memory_mb=MEMORY_MB, backups=data / "backups"
    )
    # The end of a restore reads it.
    nats = NatsServer(data / "nats", free_port())
    parts = (one.part() for one in (postgres, clickhouse, nats))
    processes = [Child(part, data / "logs", os.environ) for part in parts]
    start_together(processes)
    try:
        postgres.create_databases([PLATFORM_DATABASE])
        settings = Settings(
            database_url=SecretStr(postgres.url()),
            clickhouse_host="127.0.0.1",
            clickhouse_port=clickhouse.port,
            nats_url=SecretStr(nats.url),
        )
        asyncio.run(make_streams(settings))
        empty = settings.model_copy(update={"clickhouse_database": "default"})
        with Databases(lambda: empty).clickhouse() as admin:
            ClickHouseMigrations(admin, settings.clickhouse_database).apply()
        with contextlib.ExitStack() as stack:
            databases = Databases(lambda: settings)
            pg = stack.enter_context(databases.postgres())
            PostgresMigrations(pg).apply()
            ch = stack.enter_context(databases.clickhouse(timeout_seconds=STATEMENT_SECONDS))
            measure(settings, pg, ch, events)
    finally:
        for process in processes:
            process.stop()


async def make_streams(settings: Settings) -> None:
    """As a sidecar makes them."""
    client = Nats()
    await client.connect(settings.nats_url.get_secret_value())
    await ensure_streams(client.jetstream(), settings)
    await client.close()


def measure(settings: Settings, pg: psycopg.Connection, ch: Client, events: int) -> None:
    """All steps on running servers."""
    now = datetime(2026, 11, 1, 2, tzinfo=UTC)
    began = time.monotonic()
    fill(ch, events, 0, events)
    size = size_on_disk(ch)
    say("made", f"{events:,} events, {size / MB:,.0f} MB on disk", began)

    began = time.monotonic()
    full = take_backup(pg, ch, settings, Kind.FULL, now)
    say("full backup", f"{full.bytes / MB:,.0f} MB", began, size)

    fill(ch, events, events, events // DAYS)
    began = time.monotonic()
    second = take_backup(pg, ch, settings, Kind.INCREMENTAL, now + timedelta(days=1))
    assert second.table_figures()["events"].rows == events + events // DAYS
    say("incremental", f"a day more, {second.bytes / MB:,.0f} MB", began, second.bytes)

    size = size_on_disk(ch)
    began = time.monotonic()
    drilled = run_drill(pg, ch, settings, now + timedelta(days=2))
    assert drilled.drill is not None
    assert drilled.drill.passed, drilled.drill.reasons
    say("drill", "restored, every file and row compared", began, size)

    began = time.monotonic()
    ch.command("TRUNCATE TABLE events")
    plan = make_plan(pg, ch, settings)
    done = restore(ch, settings, plan, now + timedelta(days=3))
    assert done.backup_id == second.backup_id
    assert not done.notes
    [(rows,)] = ch.query("SELECT count() FROM events").result_rows
    assert rows == events + events // DAYS
    say("restore", "in place, rows compared, both databases", began, size)


def say(step: str, what: str, began: float, size: int | None = None) -> None:
    """A line of the result; MB are 10^6 bytes."""
    seconds = time.monotonic() - began
    rate = f"  {size / MB / seconds:>7,.0f} MB/s" if size else ""
    print(f"{step:<12} {seconds:>8.1f} s{rate}  {what}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000_000)
    with tempfile.TemporaryDirectory(prefix="analytics-benchmark-") as name:
        run(parser.parse_args().events, Path(name))
