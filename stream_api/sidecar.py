"""The sidecar's parts, put together and run: one object that the routes ask.

It starts whatever is away: NATS, Postgres and ClickHouse are each connected in the background, and
`ready` says when all that is enabled has answered once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import uuid
from collections.abc import Coroutine
from typing import Any

import psycopg
from nats.aio.client import Client as Nats
from nats.errors import Error as NatsError
from prometheus_client import CollectorRegistry, disable_created_metrics

from config.logging import fields
from config.settings import Settings
from config.tasks import end_tasks
from sql.migrations import MigrationError, PostgresMigrations
from stream_api.auth import Authenticator
from stream_api.cluster import Cluster
from stream_api.cohort_api import CohortApi
from stream_api.connection import Ending
from stream_api.erased import ErasedCompanies
from stream_api.feed import Feed
from stream_api.flags import StreamingFlags
from stream_api.health import Health
from stream_api.history import History
from stream_api.hub import Hub
from stream_api.losses import Losses
from stream_api.nats_client import NatsClient
from stream_api.platform import Platform
from stream_api.replay import Replay
from stream_api.sink import Sink
from stream_api.streams import ensure_streams
from stream_api.telemetry import HttpMetrics, SinkMetrics, StreamMetrics
from stream_api.tickets import Tickets
from stream_api.warehouse import Warehouse

logger = logging.getLogger(__name__)

CONNECT_PAUSE_SECONDS = 1.0
MIGRATIONS_PAUSE_SECONDS = 1.0
# Acknowledgements of all batches that a sink holds, 60,000 of some 95 bytes, outlive a reconnect.
SINK_PENDING_BYTES = 8 * 1024 * 1024


class Sidecar:
    """All parts of one instance. Open with `start`, close with `stop`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.instance = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.stream_metrics = StreamMetrics(self.registry)
        self.sink_metrics = SinkMetrics(self.registry)
        self.http_metrics = HttpMetrics(self.registry)
        self.nats = NatsClient()
        # Of its own, so that a backlog on its way to the sink does not stand before live events.
        self.sink_nats = NatsClient()
        self.platform = Platform(settings)
        self.warehouse = Warehouse(settings) if settings.clickhouse_enabled else None
        self.hub = Hub(
            metrics=self.stream_metrics,
            pace_ms=settings.stream_pace_ms,
            buffer_bytes=settings.stream_buffer_bytes,
            stall_seconds=settings.stream_stall_s,
            heartbeat_seconds=settings.stream_heartbeat_s,
        )
        self.feed = Feed(self.nats, self.hub, settings, self.stream_metrics)
        losses = Losses(self.nats, self.warehouse) if self.warehouse else None
        self.history = History(self.nats, self.warehouse, losses, self.stream_metrics)
        self.replay = Replay(self.hub, self.history, self.stream_metrics, instance=self.instance)
        self.authenticator = Authenticator(settings)
        self.tickets = Tickets(self.nats)
        self.cluster = Cluster(self.nats, self.hub, self.instance)
        self.flags = StreamingFlags(self.platform, self._switched_off)
        self.erased = ErasedCompanies(self.platform, self.hub.forget)
        self.health = Health(self.nats, self.platform, self.warehouse, losses, self.sink_metrics)
        self.cohort_api = (
            CohortApi(settings, self.platform, self.registry, self.health.as_of)
            if settings.clickhouse_enabled
            else None
        )
        if self.cohort_api is not None and self.cohort_api.shared is not None:
            self.health.ping_redis = self.cohort_api.shared.ping
        self.streams_exist = False
        self.migrated = False
        self.not_migrated = "migrations were not looked at yet"
        self._was_ready = False
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start everything; waits for nothing outside."""
        await self.platform.open()
        self._spawn(self._run_nats(), "nats")
        self._spawn(self._watch_migrations(), "migrations")
        self._spawn(self.health.run(), "health")
        self._spawn(self.flags.run(), "flags")
        self._spawn(self.hub.run_heartbeat(), "heartbeat")
        if self.settings.streaming_enabled:
            logger.info("SSE streaming initialized")

    async def stop(self) -> None:
        """Store what the sink holds, then close every connection."""
        self._stopping = True
        if self.health.sink is not None:
            await self.health.sink.drain()
        await end_tasks(self._tasks)
        for nats in (self.sink_nats, self.nats):
            try:
                if nats.is_connected:
                    await nats.flush()
                await nats.close()
            except (NatsError, OSError, RuntimeError) as error:
                # NATS ended at the same moment. What it did not take is delivered again.
                logger.warning("NATS was gone before the last acknowledgements: %s", error)
        if self.cohort_api is not None:
            await self.cohort_api.close()
        await self.platform.close()
        if self.warehouse is not None:
            await self.warehouse.close()

    def unready(self) -> str | None:
        """Why the instance should get no traffic; None when it is ready.

        At first everything enabled must have answered once. Afterwards only NATS and draining
        count: an outage of Postgres or ClickHouse must not take streaming from the balancer.
        """
        if self.hub.draining:
            return "draining"
        if not self.nats.is_connected:
            return "NATS is not connected"
        if self._was_ready:
            return None
        if not self.migrated:
            return self.not_migrated
        if not self.streams_exist:
            return "streams and consumers do not exist yet"
        if self.settings.streaming_enabled and not self.feed.caught_up.is_set():
            return "the live reader has not caught up yet"
        wanted = {"postgres"} | ({"clickhouse"} if self.warehouse else set())
        silent = sorted(wanted - self.health.seen)
        if silent:
            return f"{', '.join(silent)} has not answered yet"
        self._was_ready = True
        return None

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_end_on_fault)
        self._tasks.append(task)

    async def _run_nats(self) -> None:
        await self._connect(
            self.nats, "sidecar", disconnected_cb=self._nats_lost, reconnected_cb=self._nats_back
        )
        while not self.streams_exist:
            try:
                await ensure_streams(self.nats.jetstream(), self.settings)
                self.streams_exist = True
            except (NatsError, TimeoutError) as error:
                logger.warning("JetStream does not answer: %s", error or type(error).__name__)
                await asyncio.sleep(CONNECT_PAUSE_SECONDS)
        if self.settings.streaming_enabled:
            await self.cluster.answer()
            self._spawn(self.feed.run(), "feed")
        if self.warehouse is not None:
            sink = Sink(self.sink_nats, self.warehouse, self.settings, self.sink_metrics)
            await self._connect(
                self.sink_nats,
                "sink",
                reconnected_cb=sink.reconnected,
                pending_size=SINK_PENDING_BYTES,
            )
            self.health.sink = sink
            self._spawn(sink.run(), "sink")
            logger.info("ClickHouse event sink initialized")

    async def _connect(self, nats: Nats, name: str, **options: Any) -> None:
        """Connect at last, and stay connected."""
        while not nats.is_connected:
            try:
                await nats.connect(
                    self.settings.nats_url.get_secret_value().split(","),
                    name=f"analytics-{name} {self.instance}",
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.25,  # type: ignore[arg-type]  # seconds, float works
                    connect_timeout=2,
                    ping_interval=5,
                    max_outstanding_pings=2,
                    error_cb=_nats_error,
                    closed_cb=self._nats_closed,
                    **options,
                )
            except (NatsError, OSError, TimeoutError) as error:
                logger.warning("NATS does not answer: %s", error or type(error).__name__)
                await asyncio.sleep(CONNECT_PAUSE_SECONDS)

    async def _nats_lost(self) -> None:
        if not self.nats.is_closed:
            logger.warning("NATS connection lost; streams stay open and wait")

    async def _nats_closed(self) -> None:
        """nats-py closes for good at an error that the server names, e.g. too many connections."""
        if not self._stopping:
            logger.critical("NATS has closed a connection for good; the process ends")
            os.kill(os.getpid(), signal.SIGTERM)

    async def _nats_back(self) -> None:
        logger.info("NATS connection is back")
        self.feed.restart("reconnected")

    async def _watch_migrations(self) -> None:
        """Wait until the database has every migration; applying them is `analytics migrate`."""
        while not self.migrated:
            try:
                names = await asyncio.to_thread(self._pending_migrations)
                self.migrated = not names
                self.not_migrated = f"migrations are pending: {', '.join(names)}; run them first"
            except psycopg.Error as error:
                self.not_migrated = f"Postgres does not answer: {str(error).splitlines()[0]}"
            except MigrationError as error:
                self.not_migrated = str(error)
            if not self.migrated:
                await asyncio.sleep(MIGRATIONS_PAUSE_SECONDS)
        # Its table is there from now on.
        self._spawn(self.erased.run(), "erased")

    def _pending_migrations(self) -> list[str]:
        url = self.settings.database_url.get_secret_value()
        with psycopg.connect(url, autocommit=True, connect_timeout=3) as connection:
            return [m.name for m in PostgresMigrations(connection).pending()]

    def _switched_off(self, company_id: str) -> None:
        logger.info("streaming switched off", extra=fields(company=company_id))
        self.hub.end_company(company_id, Ending.SWITCHED_OFF)


async def _nats_error(error: Exception) -> None:
    logger.debug("NATS: %s", error or type(error).__name__)


def _end_on_fault(task: asyncio.Task[None]) -> None:
    """A part that ends with a fault ends the process: half a sidecar would look healthy."""
    if task.cancelled() or task.exception() is None:
        return
    logger.critical("%s failed", task.get_name(), exc_info=task.exception())
    # uvicorn's own signal handler drains and stops; the supervisor starts a new process.
    os.kill(os.getpid(), signal.SIGTERM)
