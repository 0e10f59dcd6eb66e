"""One run's servers: NATS, ClickHouse and Postgres in a temporary folder, and events to store."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import clickhouse_connect
import psycopg
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from config.settings import Settings
from embedded.child import Child, start_together
from embedded.clickhouse_part import ClickHouseServer
from embedded.nats import NatsServer
from embedded.ports import free_port
from embedded.postgres import PLATFORM_DATABASE, PostgresServer
from sql.migrations import ClickHouseMigrations, PostgresMigrations

DATABASE = "teei_analytics"
SUBJECT = "metrics.calculated"
CLICKHOUSE_MEMORY_MB = 4096
DIFFERENT_EVENTS = 1000
FILL_STEP = 5000


@dataclass(frozen=True)
class World:
    """Servers that run, and settings for a sidecar on them."""

    folder: Path
    nats: Child
    clickhouse: Child
    settings: Settings
    nats_port: int

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """A client of the warehouse database."""
        client = clickhouse_connect.get_client(
            host="127.0.0.1",
            port=self.settings.clickhouse_port,
            database=DATABASE,
            autogenerate_session_id=False,
        )
        with contextlib.closing(client):
            yield client


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Fresh, migrated servers; gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="analytics-ingest-"))
    folder.chmod(0o755)  # Postgres is another user
    nats = NatsServer(folder / "nats", free_port())
    clickhouse = ClickHouseServer(
        folder / "clickhouse", free_port(), memory_mb=CLICKHOUSE_MEMORY_MB
    )
    postgres = PostgresServer(folder / "postgres", free_port(), durable=False)
    parts = [Child(one.part(), folder / "logs", os.environ) for one in (nats, clickhouse, postgres)]
    try:
        start_together(parts)
        postgres.create_databases([PLATFORM_DATABASE])
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            PostgresMigrations(connection).apply()
        settings = Settings(
            port_analytics=0,
            nats_url=SecretStr(nats.url),
            database_url=SecretStr(postgres.url()),
            clickhouse_host="127.0.0.1",
            clickhouse_port=clickhouse.port,
            clickhouse_database=DATABASE,
        )
        made = World(folder, parts[0], parts[1], settings, nats.port)
        server = clickhouse_connect.get_client(
            host="127.0.0.1", port=clickhouse.port, autogenerate_session_id=False
        )
        with contextlib.closing(server):
            ClickHouseMigrations(server, DATABASE).apply()
        yield made
    finally:
        for part in reversed(parts):
            part.stop()
        shutil.rmtree(folder, ignore_errors=True)


def events() -> list[bytes]:
    """Metric events of some 200 bytes, of 50 companies and 100 users."""
    return [
        json.dumps(
            {
                "companyId": f"company-{n % 50}",
                "userId": f"0c7b0a1e-1111-4a4a-9999-0123456789{n % 100:02d}",
                "metricName": "integration_score",
                "value": n / DIFFERENT_EVENTS,
                "periodStart": "2026-11-01",
                "dimensions": {"program": "mentorship"},
            }
        ).encode()
        for n in range(DIFFERENT_EVENTS)
    ]


class Publisher:
    """Publishes over a plain socket, because a client would need the cores that are measured."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._answers = self._socket.makefile("rb")
        self._answers.readline()
        self._socket.sendall(b'CONNECT {"verbose":false}\r\n')
        self._events = events()
        self._commands = [
            b"PUB %b %d\r\n%b\r\n" % (SUBJECT.encode(), len(e), e) for e in self._events
        ]

    def fill(self, count: int) -> None:
        """Publish so many events as fast as the server stores them.

        The last one of each step asks for JetStream's acknowledgement: it drops, without a word to
        this publisher, what exceeds 10,000 messages in its queue.
        """
        self._socket.sendall(b"SUB filled 1\r\n")
        for start in range(0, count, FILL_STEP):
            self.send(min(FILL_STEP, count - start) - 1)
            last = self._events[0]
            self._socket.sendall(
                b"PUB %b filled %d\r\n%b\r\n" % (SUBJECT.encode(), len(last), last)
            )
            while not self._answers.readline().startswith(b"MSG filled"):
                pass
            self._answers.readline()
        self._socket.sendall(b"UNSUB 1\r\n")

    def send(self, count: int) -> None:
        """Publish some, and wait until the server has read them."""
        whole, rest = divmod(count, DIFFERENT_EVENTS)
        self._socket.sendall(b"".join(self._commands * whole + self._commands[:rest]) + b"PING\r\n")
        while not self._answers.readline().startswith(b"PONG"):
            pass

    def at_rate(self, events_per_second: int, seconds: float) -> None:
        """Publish evenly, a hundredth of a second's events at a time."""
        step = max(1, events_per_second // 100)
        begin = time.monotonic()
        for number in range(round(seconds * events_per_second / step)):
            time.sleep(max(0.0, begin + number * step / events_per_second - time.monotonic()))
            self.send(step)

    def close(self) -> None:
        self._answers.close()
        self._socket.close()
