"""Real servers for the tests: one Postgres and one ClickHouse a session, one NATS a test.

Everything listens on free loopback ports and keeps its data in a temporary folder, so that tests
run beside `make up`. Each test has databases and a NATS server of its own.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import clickhouse_connect
import psutil
import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from psycopg import sql
from pydantic import SecretStr

from config import Settings
from embedded.child import Child, start_together
from embedded.clickhouse_part import ClickHouseServer
from embedded.nats import NatsServer
from embedded.ports import free_port
from embedded.postgres import PostgresServer
from sql.migrations import ClickHouseMigrations, PostgresMigrations

TEMPLATE_DATABASE = "template_migrated"
CLICKHOUSE_MEMORY_MB = 2048
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - folders made there are mkdtemp's
MEMORY_BYTES = 8 * 2**30


@dataclass(frozen=True)
class Backend:
    """Two database servers, and their processes for tests that stop them.

    In `folder`: `postgres` and `clickhouse` with their data, `backups`, `logs`.
    """

    folder: Path
    postgres: PostgresServer
    clickhouse: ClickHouseServer
    postgres_process: Child
    clickhouse_process: Child

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A new connection in autocommit mode."""
        return psycopg.connect(self.postgres.url(database), autocommit=True)

    def clickhouse_client(self, database: str = "default") -> Client:
        """A new client; close it."""
        return clickhouse_connect.get_client(
            host="127.0.0.1",
            port=self.clickhouse.port,
            username="teei",
            database=database,
            autogenerate_session_id=False,
        )


@dataclass(frozen=True)
class NatsProcess:
    """A NATS server of one test: `process.stop()` and `process.start()` keep port and streams."""

    url: str
    process: Child


@pytest.fixture(scope="session")
def backend() -> Iterator[Backend]:
    """Postgres (with a migrated template database) and ClickHouse of all tests of this process."""
    with running_backend() as backend:
        yield backend


@contextlib.contextmanager
def running_backend() -> Iterator[Backend]:
    """Postgres (with a migrated template database) and ClickHouse, started in parallel."""
    with temporary_folder() as folder:
        postgres = PostgresServer(folder / "postgres", free_port(), durable=False)
        clickhouse = ClickHouseServer(
            folder / "clickhouse",
            free_port(),
            memory_mb=CLICKHOUSE_MEMORY_MB,
            backups=folder / "backups",
        )
        logs = folder / "logs"
        processes = [Child(one.part(), logs, os.environ) for one in (clickhouse, postgres)]
        start_together(processes)
        try:
            postgres.create_databases([TEMPLATE_DATABASE])
            with psycopg.connect(postgres.url(TEMPLATE_DATABASE), autocommit=True) as connection:
                PostgresMigrations(connection).apply()
            yield Backend(folder, postgres, clickhouse, processes[1], processes[0])
        finally:
            for process in processes:
                process.stop()


@pytest.fixture
def nats_server() -> Iterator[NatsProcess]:
    """A fresh NATS server with JetStream."""
    with running_nats() as server:
        yield server


@contextlib.contextmanager
def running_nats() -> Iterator[NatsProcess]:
    """A NATS server with JetStream on a port and in a folder of its own."""
    with temporary_folder() as folder:
        server = NatsServer(folder / "nats", free_port())
        process = Child(server.part(), folder / "logs", os.environ)
        start_together([process])
        try:
            yield NatsProcess(server.url, process)
        finally:
            process.stop()


@pytest.fixture
def nats_url(nats_server: NatsProcess) -> str:
    """Address of the test's own NATS server."""
    return nats_server.url


@pytest.fixture
def settings(backend: Backend, nats_url: str) -> Iterator[Settings]:
    """Settings that point at migrated databases of this test's own, and its NATS server."""
    with own_settings(backend, nats_url) as settings:
        yield settings


@contextlib.contextmanager
def own_settings(backend: Backend, nats_url: str, *, migrated: bool = True) -> Iterator[Settings]:
    """Settings that point at two new databases, dropped at the end, and a NATS server.

    Not `migrated`: Postgres's is empty, ClickHouse's does not exist yet.
    """
    name = f"test_{uuid.uuid4().hex[:12]}"
    template = TEMPLATE_DATABASE if migrated else "template1"
    with backend.connect() as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    if migrated:
        with contextlib.closing(backend.clickhouse_client()) as client:
            ClickHouseMigrations(client, name).apply()
    try:
        yield Settings(
            port_analytics=0,
            nats_url=SecretStr(nats_url),
            database_url=SecretStr(backend.postgres.url(name)),
            clickhouse_host="127.0.0.1",
            clickhouse_port=backend.clickhouse.port,
            clickhouse_database=name,
            analytics_data=backend.folder / name,
        )
    finally:
        with contextlib.closing(backend.clickhouse_client()) as client:
            client.command(f"DROP DATABASE IF EXISTS {name}")
        with backend.connect() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


@pytest.fixture
def pg(settings: Settings) -> Iterator[psycopg.Connection]:
    """An autocommit connection to the test's platform database."""
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def ch(settings: Settings, backend: Backend) -> Iterator[Client]:
    """A client of the test's warehouse database."""
    with contextlib.closing(backend.clickhouse_client(settings.clickhouse_database)) as client:
        yield client


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Removed at the end. Not pytest's own: as root that one is closed to Postgres's account."""
    folder = Path(tempfile.mkdtemp(prefix="analytics-test-", dir=_in_memory()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _in_memory() -> Path | None:
    """Where files are in memory, with room for all that the tests keep; else None.

    Servers that come and go with thousands of small files make a disk's file system look for free
    inodes: a quarter of the CPU time of the test with the most of them was ext4's.
    """
    enough = (
        SHARED_MEMORY.is_dir()
        and os.access(SHARED_MEMORY, os.W_OK)
        and shutil.disk_usage(SHARED_MEMORY).free >= MEMORY_BYTES
        and psutil.virtual_memory().available >= MEMORY_BYTES
    )
    return SHARED_MEMORY if enough else None
