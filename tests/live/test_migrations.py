"""Migrations on the real servers: once, in order, together, and never a changed one."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from config import Settings
from embedded.child import wait_until
from sql import SQL_FOLDER
from sql.migrations import (
    ClickHouseMigrations,
    MigrationError,
    PostgresMigrations,
    read_migrations,
)
from tests.live.sidecar import environment

EMPTY = "test_migrations_empty"
PLATFORM = SQL_FOLDER / "postgres" / "migrations"
WAREHOUSE = SQL_FOLDER / "clickhouse" / "migrations"


@pytest.fixture
def empty_platform(pg: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A Postgres database that nothing was applied to."""
    pg.execute(f"CREATE DATABASE {EMPTY}")
    try:
        info = pg.info
        with psycopg.connect(
            host=info.host, port=info.port, user=info.user, dbname=EMPTY, autocommit=True
        ) as connection:
            yield connection
    finally:
        pg.execute(f"DROP DATABASE {EMPTY} WITH (FORCE)")


@pytest.fixture
def empty_warehouse(ch: Client) -> Iterator[Client]:
    """A ClickHouse client; database EMPTY is not there, and gone again afterwards."""
    yield ch
    ch.command(f"DROP DATABASE IF EXISTS {EMPTY}")


def test_all_are_recorded_in_order_with_their_checksums(pg: psycopg.Connection, ch: Client) -> None:
    rows = pg.execute("SELECT name, checksum FROM schema_migrations ORDER BY name").fetchall()
    assert rows == [(one.name, one.checksum) for one in read_migrations(PLATFORM)]
    stored = ch.query("SELECT name, checksum FROM schema_migrations ORDER BY name").result_rows
    assert stored == [(one.name, one.checksum) for one in read_migrations(WAREHOUSE)]


def test_again_is_nothing(pg: psycopg.Connection, ch: Client, settings: Settings) -> None:
    assert PostgresMigrations(pg).apply() == ()
    assert ClickHouseMigrations(ch, settings.clickhouse_database).apply() == ()


def test_a_dry_run_lists_all_and_writes_nothing(
    empty_platform: psycopg.Connection, empty_warehouse: Client
) -> None:
    assert PostgresMigrations(empty_platform).pending() == read_migrations(PLATFORM)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert empty_platform.execute(tables).fetchone() == (0,)
    assert ClickHouseMigrations(empty_warehouse, EMPTY).pending() == read_migrations(WAREHOUSE)
    databases = empty_warehouse.query("SELECT name FROM system.databases").result_rows
    assert (EMPTY,) not in databases


def test_an_edited_migration_is_refused_by_name(
    pg: psycopg.Connection, ch: Client, settings: Settings, tmp_path: Path
) -> None:
    platform = shutil.copytree(PLATFORM, tmp_path / "platform")
    edit(platform / "0001_platform_tables.sql")
    with pytest.raises(MigrationError, match=r"^0001_platform_tables: edited"):
        PostgresMigrations(pg, platform).apply()
    warehouse = shutil.copytree(WAREHOUSE, tmp_path / "warehouse")
    edit(warehouse / "0002_cohorts.sql")
    with pytest.raises(MigrationError, match=r"^0002_cohorts: edited"):
        ClickHouseMigrations(ch, settings.clickhouse_database, warehouse).apply()


def test_a_failed_postgres_migration_leaves_no_trace(
    empty_platform: psycopg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "0001_good.sql").write_text("CREATE TABLE good (x int);")
    bad = tmp_path / "0002_bad.sql"
    bad.write_text("CREATE TABLE half (x int); SELECT 1 / 0;")
    migrations = PostgresMigrations(empty_platform, tmp_path)
    with pytest.raises(MigrationError, match=r"^0002_bad: division by zero"):
        migrations.apply()
    assert empty_platform.execute("SELECT to_regclass('half')").fetchone() == (None,)
    bad.write_text("CREATE TABLE half (x int);")
    assert [one.name for one in migrations.apply()] == ["0002_bad"]


def test_a_clickhouse_migration_that_was_cut_runs_again(
    empty_warehouse: Client, tmp_path: Path
) -> None:
    script = tmp_path / "0001_two.sql"
    create = "CREATE TABLE IF NOT EXISTS first (x Int32) ENGINE = MergeTree ORDER BY x;\n"
    script.write_text(create + "SELECT throwIf(1, 'cut here');\n")
    migrations = ClickHouseMigrations(empty_warehouse, EMPTY, tmp_path)
    with pytest.raises(MigrationError, match=r"^0001_two: "):
        migrations.apply()
    script.write_text(create + "SELECT 1;\n")
    assert [one.name for one in migrations.apply()] == ["0001_two"]


def test_two_processes_at_once_apply_each_one_once(
    empty_platform: psycopg.Connection, empty_warehouse: Client, settings: Settings
) -> None:
    info = empty_platform.info
    variables = environment(
        settings.model_copy(
            update={
                "database_url": SecretStr(
                    f"postgresql://{info.user}@{info.host}:{info.port}/{EMPTY}"
                ),
                "clickhouse_database": EMPTY,
            }
        )
    )
    command = [sys.executable, "-m", "cli", "migrate", "--json"]
    with contextlib.ExitStack() as stack:
        # Both have come as far as the lock before either may begin.
        with PostgresMigrations(empty_platform).lock():
            both = [
                stack.enter_context(
                    subprocess.Popen(
                        command,
                        cwd=SQL_FOLDER.parent,
                        env=variables,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        text=True,
                    )
                )
                for _ in range(2)
            ]
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            assert wait_until(lambda: empty_platform.execute(waiting).fetchone() == (2,), 60)
        ends = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    nothing, everything = sorted((json.loads(out) for out, _ in ends), key=lambda x: len(str(x)))
    assert nothing == {"dryRun": False, "postgres": [], "clickhouse": []}
    assert everything["postgres"] == [one.name for one in read_migrations(PLATFORM)]
    assert everything["clickhouse"] == [one.name for one in read_migrations(WAREHOUSE)]


def edit(path: Path) -> None:
    path.write_text(path.read_text() + "-- a remark\n")
