"""What works and what does not: polled in the background, so that a health answer costs nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nats.aio.client import Client as Nats
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from config.names import DLQ_STREAM, EVENTS_STREAM, SINK_CONSUMER
from stream_api.losses import Losses
from stream_api.platform import Platform, PlatformAwayError
from stream_api.sink import Sink
from stream_api.telemetry import SinkMetrics
from stream_api.warehouse import Warehouse, WarehouseAwayError

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
# A warehouse that takes a question and says nothing is away too; its own timeout is for queries.
PING_SECONDS = 5.0


@dataclass
class SinkLag:
    """How far the warehouse is behind the stream."""

    events: int = 0
    seconds: float = 0.0
    dead_letters: int = 0
    read_at: float = field(default_factory=time.time)


class Health:
    """State of the dependencies, and of the sink all instances share."""

    def __init__(
        self,
        nats: Nats,
        platform: Platform,
        warehouse: Warehouse | None,
        losses: Losses | None,
        metrics: SinkMetrics,
    ) -> None:
        self._nats = nats
        self._js = nats.jetstream()
        self._platform = platform
        self._warehouse = warehouse
        self._losses = losses
        self._metrics = metrics
        self.sink: Sink | None = None
        # None where no Redis is used. It is no condition for being ready: all goes on without it.
        self.ping_redis: Callable[[], Awaitable[bool]] | None = None
        self.lag = SinkLag()
        self.answers: dict[str, bool | None] = {
            "postgres": None,
            "clickhouse": None,
            "redis": None,
        }
        # Each that has answered once; an outage afterwards is degraded, not unready.
        self.seen: set[str] = set()

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            await self.poll()
            await asyncio.sleep(POLL_SECONDS)

    async def poll(self) -> None:
        """Ask each dependency once, all at the same time."""
        await asyncio.gather(
            self._poll_postgres(), self._poll_clickhouse(), self._poll_redis(), self._poll_sink()
        )
        self.seen.update(name for name, answered in self.answers.items() if answered)

    def dependencies(self) -> dict[str, str]:
        """`ok`, `degraded` or `disabled`, a dependency."""
        sink_away = self.sink is not None and self.sink.away is not None
        return {
            "postgres": _word(self.answers["postgres"]),
            "nats": _word(self._nats.is_connected),
            "clickhouse": "disabled"
            if self._warehouse is None
            else _word(bool(self.answers["clickhouse"]) and not sink_away),
            "redis": "disabled" if self.ping_redis is None else _word(self.answers["redis"]),
        }

    def as_of(self) -> str:
        """Up to when the warehouse has everything, ISO 8601: what an answer from it includes."""
        moment = self.lag.read_at - self.lag.seconds
        return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")

    def sink_report(self) -> dict[str, Any]:
        """Lag and dead letters for `/health`."""
        report: dict[str, Any] = {
            "lagEvents": self.lag.events,
            "lagSeconds": round(self.lag.seconds, 3),
            "deadLetters": self.lag.dead_letters,
        }
        if self.sink is not None and self.sink.away:
            report["waitingFor"] = self.sink.away
            report["waitingSeconds"] = round(self.sink.away_seconds, 3)
        return report

    async def _poll_postgres(self) -> None:
        try:
            await self._platform.rows("select_one", {})
            answered = True
        except PlatformAwayError as error:
            answered = False
            if self.answers["postgres"] is not answered:
                logger.warning("Postgres does not answer: %s", error)
        self.answers["postgres"] = answered

    async def _poll_redis(self) -> None:
        if self.ping_redis is not None:
            self.answers["redis"] = await self.ping_redis()

    async def _poll_clickhouse(self) -> None:
        if self._warehouse is not None:
            try:
                async with asyncio.timeout(PING_SECONDS):
                    self.answers["clickhouse"] = await self._warehouse.ping()
            except TimeoutError:
                self.answers["clickhouse"] = False

    async def _poll_sink(self) -> None:
        if self._warehouse is None or not self._nats.is_connected:
            return
        try:
            info = await self._js.consumer_info(EVENTS_STREAM, SINK_CONSUMER)
            letters = (await self._js.stream_info(DLQ_STREAM)).state.messages
            events = (info.num_pending or 0) + (info.num_ack_pending or 0)
            floor = info.ack_floor.stream_seq if info.ack_floor else 0
            seconds = await self._age_after(floor) if events else 0.0
        except (NatsError, TimeoutError) as error:
            logger.debug("sink lag unknown: %s", error)
            return
        self.lag = SinkLag(events, seconds, letters)
        self._metrics.lag_events.set(events)
        self._metrics.lag_seconds.set(seconds)
        if self._losses is not None:
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await self._losses.look(floor)
            except (WarehouseAwayError, NatsError, TimeoutError) as error:
                logger.debug("losses unknown: %s", error)

    async def _age_after(self, seq: int) -> float:
        """Age in seconds of the first message behind `seq`."""
        try:
            message = await self._js.get_msg(
                EVENTS_STREAM, seq=seq + 1, subject=">", next=True, direct=True
            )
        except NotFoundError:
            return 0.0
        return max(0.0, time.time() - message.time.timestamp()) if message.time else 0.0


def _word(answered: bool | None) -> str:
    return "ok" if answered else "degraded"
