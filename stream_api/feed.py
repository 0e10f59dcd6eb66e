"""The live reader: the whole stream, in order, into the hub.

Every instance has one, on a consumer of its own, so instances need no coordination. A gap in the
consumer's sequence, a missed heartbeat or a reconnect makes it start over behind the last message
that it saw; a recreated stream (another `created`) makes it start at that one's beginning.

Messages come in the event loop's turn that read them off the socket (`wire.py`), and what is due
is written to the clients before that turn ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from config.logging import fields
from config.names import EVENTS_STREAM
from config.settings import Settings
from events.accept import Event, Rejection, accept
from stream_api.delivery import parse_delivery
from stream_api.hub import Hub
from stream_api.nats_client import NatsClient, subject_text
from stream_api.streams import created_ms, ensure_streams, last_message_ms
from stream_api.telemetry import StreamMetrics
from stream_api.wire import Status, WireMessage

logger = logging.getLogger(__name__)

# At start so many messages are read back, so that clients which return after a restart find their
# events in memory.
WARM_EVENTS = 10_000
IDLE_HEARTBEAT_SECONDS = 1.0
MISSED_HEARTBEATS = 3
RESTART_PAUSE_SECONDS = 0.5
# The consumer of an instance that died is removed by the server.
INACTIVE_SECONDS = 30.0
DELETE_SECONDS = 1.0


class Feed:
    """Runs until cancelled. `caught_up` is set once the hub has what the stream had at start."""

    def __init__(
        self, nats: NatsClient, hub: Hub, settings: Settings, metrics: StreamMetrics
    ) -> None:
        self._nats = nats
        self._settings = settings
        self._js = nats.jetstream()
        self._hub = hub
        self._metrics = metrics
        self._reason = ""
        self._fault: Exception | None = None
        # Subjects that want an empty answer: flow control.
        self._answers: list[str] = []
        self._wake = asyncio.Event()
        self._consumer_seq = 0
        self._heard_at = 0.0
        self.caught_up = asyncio.Event()

    async def run(self) -> None:
        """Read for ever; every fault is named in the log, counted, and followed by a new start."""
        while True:
            try:
                await self._read_until_trouble()
                logger.warning("live reader starts over: %s", self._reason)
                self._metrics.feed_gap(self._reason)
            except (NatsError, TimeoutError, OSError) as error:
                logger.warning("live reader waits for NATS: %s", error or type(error).__name__)
                self._metrics.feed_gap("nats_away")
            await asyncio.sleep(RESTART_PAUSE_SECONDS)

    def restart(self, reason: str) -> None:
        """Make the reader start over, e.g. after a reconnect."""
        self._reason = reason
        self._wake.set()

    def on_messages(self, messages: list[WireMessage]) -> None:
        """Decide on what one read has brought, and write what is due."""
        if self._reason:
            return
        self._heard_at = time.monotonic()
        try:
            events: list[Event] = []
            delivery = None
            for subject, reply, data in messages:
                following = parse_delivery(reply)
                if following.consumer_seq != self._consumer_seq + 1:
                    self.restart("sequence_gap")
                    break
                delivery = following
                self._consumer_seq = delivery.consumer_seq
                decided = accept(subject_text(subject), delivery.stream_seq, delivery.ms, data)
                if isinstance(decided, Event):
                    events.append(decided)
                else:
                    self._reject(decided)
            if delivery is not None:
                self._hub.publish(events, delivery.stream_seq, delivery.ms)
                if delivery.pending == 0:
                    self.caught_up.set()
        except Exception as error:
            self._fault = error
            self.restart("fault")

    def on_status(self, status: Status) -> None:
        """A heartbeat says which consumer sequence came last; flow control wants an answer."""
        if self._reason:
            return
        self._heard_at = time.monotonic()
        last = status.headers.get("Nats-Last-Consumer")
        if last is not None and int(last) != self._consumer_seq:
            self.restart("sequence_gap")
        answer = status.reply or status.headers.get("Nats-Consumer-Stalled")
        if answer:
            self._answers.append(answer)
            self._wake.set()

    async def _read_until_trouble(self) -> None:
        await ensure_streams(self._js, self._settings)
        info = await self._js.stream_info(EVENTS_STREAM)
        created, last = created_ms(info), info.state.last_seq
        if created != self._hub.stream_created_ms:
            first_life = self._hub.stream_created_ms == 0
            start = max(info.state.first_seq - 1, last - WARM_EVENTS, 0) if first_life else 0
            # Nothing is left to read that would say when the stream got there; without the time
            # every resume point would seem to be of a life that is still to begin.
            ms = await last_message_ms(self._nats) if 0 < last == start else created
            self._hub.begin(created, start, ms)
        elif last < self._hub.position.seq:
            # The same stream with a lower sequence: a purge or a restored older copy.
            self._hub.begin(created, last, self._hub.position.ms)
        self._reason = ""
        self._wake.clear()
        self._answers.clear()
        self._consumer_seq = 0
        self._heard_at = time.monotonic()
        inbox = self._nats.new_inbox()
        subscription = await self._nats.subscribe_direct(inbox, self)
        consumer = ""
        try:
            created_consumer = await self._js.add_consumer(
                EVENTS_STREAM,
                ConsumerConfig(
                    description="live reader of one sidecar",
                    deliver_subject=inbox,
                    deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                    opt_start_seq=self._hub.position.seq + 1,
                    ack_policy=AckPolicy.NONE,
                    flow_control=True,
                    idle_heartbeat=IDLE_HEARTBEAT_SECONDS,
                    inactive_threshold=INACTIVE_SECONDS,
                    mem_storage=True,
                    num_replicas=1,
                    max_deliver=1,
                ),
            )
            consumer = created_consumer.name
            if created_consumer.num_pending == 0:
                self.caught_up.set()
            await self._watch()
        finally:
            await self._stop(subscription, consumer)
        if self._fault is not None:
            raise self._fault

    async def _watch(self) -> None:
        """Answer flow control; return when in trouble: told so, or silent for too long."""
        while not self._reason:
            left = IDLE_HEARTBEAT_SECONDS * MISSED_HEARTBEATS + self._heard_at - time.monotonic()
            if left <= 0:
                self.restart("heartbeats_missed")
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()
            self._wake.clear()
            answers, self._answers = self._answers, []
            for answer in answers:
                await self._nats.publish(answer, b"")

    async def _stop(self, subscription: Any, consumer: str) -> None:
        try:
            async with asyncio.timeout(DELETE_SECONDS):
                await self._nats.unsubscribe_direct(subscription)
                if consumer and self._nats.is_connected:
                    await self._js.delete_consumer(EVENTS_STREAM, consumer)
        except (NatsError, TimeoutError, OSError) as error:
            # The server removes an abandoned consumer by itself.
            logger.debug("consumer %s left behind: %s", consumer, error)

    def _reject(self, decided: Rejection) -> None:
        self._metrics.rejected(decided.reason)
        if not self._settings.clickhouse_enabled:
            # No sink puts it aside and says so.
            logger.warning(
                "event not streamed",
                extra=fields(event=decided.id, reason=decided.reason.value, detail=decided.detail),
            )
