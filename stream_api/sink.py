"""The sink: every event of the stream into ClickHouse, acknowledged after the commit.

Any number of instances share one durable consumer. A message that was delivered again regroups
into another batch, so idempotence is the row's: its key is its id (see
`sql/clickhouse/migrations/0001_events.sql`).

While ClickHouse is away nothing more is fetched: the backlog waits in JetStream, and what is held
is renewed. A row that the engine refuses is found by splitting the batch; it alone is put aside.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass, field

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from config.names import EVENTS_STREAM, SINK_CONSUMER, TABLE_EVENTS, TABLE_METRICS
from config.settings import Settings
from stream_api import dead_letters, rows
from stream_api.dead_letters import DeadLetter
from stream_api.delivery import parse_delivery
from stream_api.events import Event, Reason, Rejection, accept
from stream_api.streams import ensure_streams
from stream_api.telemetry import SinkMetrics
from stream_api.warehouse import RowsRefusedError, Warehouse, WarehouseAwayError

logger = logging.getLogger(__name__)

# Behind by more than a batch, the sink stores larger ones: ClickHouse takes rows several times
# faster at 10,000 a block than at 1,000.
CATCH_UP_ROWS = 20_000
BATCH_BYTES = 8 * 1024 * 1024
# One batch is being committed while the next one fills.
COMMITS_IN_FLIGHT = 2
PULL_EXPIRES_SECONDS = 30
PULL_HEARTBEAT_SECONDS = 5
# Two missed heartbeats and a little: the request is lost, e.g. with its connection.
PULL_SILENCE_SECONDS = 12
RENEW_SECONDS = 10
RETRY_PAUSES_SECONDS = (0.1, 0.25, 0.5, 1, 2, 5)
DRAIN_SECONDS = 5

INSERT_SETTINGS = {
    # Periods may lie in many months; the default of 100 would refuse a batch of history.
    "max_partitions_per_insert_block": 0,
    # The whole batch is one block, so it is committed whole or not at all.
    "max_insert_block_size": 1_000_000,
    "input_format_parallel_parsing": 0,
    "async_insert": 0,
}


@dataclass(eq=False)
class Batch:
    """Messages that are held: decided on, not yet acknowledged."""

    replies: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    bytes: int = 0
    started_at: float = 0.0
    renewed_at: float = 0.0


class Sink:
    """Runs until it is told to drain. `away` names why ClickHouse does not take rows, if so."""

    def __init__(
        self, nats: Nats, warehouse: Warehouse, settings: Settings, metrics: SinkMetrics
    ) -> None:
        self._nats = nats
        self._js = nats.jetstream()
        self._warehouse = warehouse
        self._metrics = metrics
        self._settings = settings
        self._batch_rows = settings.clickhouse_batch_size
        self._batch_seconds = settings.clickhouse_batch_timeout_ms / 1000
        self._inbox = nats.new_inbox()
        self._batch = Batch()
        self._committing: dict[Batch, asyncio.Task[None]] = {}
        self._requested = 0
        self._waiting = 0
        self._heard_at = 0.0
        self._wake = asyncio.Event()
        self._draining = False
        self._lost = False
        self.away: str | None = None

    async def run(self) -> None:
        """Fetch, commit, acknowledge, until `drain` is called."""
        subscription = await self._nats.subscribe(self._inbox, cb=self._on_message)
        try:
            while not self._draining:
                self._wake.clear()
                try:
                    await self._fetch()
                except (NatsError, TimeoutError) as error:
                    logger.warning("sink waits for NATS: %s", error or type(error).__name__)
                self._commit_when_ready()
                await self._renew_held()
                for task in self._committing.values():
                    if task.done():
                        # A fault of our own: let the process end and start anew, since what is
                        # held is not acknowledged.
                        task.result()
                try:
                    async with asyncio.timeout(self._pause()):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            await subscription.unsubscribe()

    async def drain(self) -> None:
        """Store what is held if ClickHouse takes it now; give the rest back to the stream."""
        self._draining = True
        self._wake.set()
        if self._batch.replies:
            self._start_commit()
        if self._committing:
            _, late = await asyncio.wait(self._committing.values(), timeout=DRAIN_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for batch in [*self._committing, self._batch]:
            await self._answer(batch.replies, b"-NAK")

    def held_rows(self) -> int:
        """Messages that were fetched and are not acknowledged."""
        return len(self._batch.replies) + sum(len(b.replies) for b in self._committing)

    # --- fetching -------------------------------------------------------------------------

    def _target_rows(self) -> int:
        behind = self._waiting > self._batch_rows
        return max(self._batch_rows, CATCH_UP_ROWS) if behind else self._batch_rows

    async def _fetch(self) -> None:
        now = time.monotonic()
        if self._requested and now - self._heard_at > PULL_SILENCE_SECONDS:
            self._requested = 0
        if self.away or not self._nats.is_connected:
            return
        if self._lost:
            await ensure_streams(self._js, self._settings)
            self._lost = False
        target = self._target_rows()
        want = COMMITS_IN_FLIGHT * target - self.held_rows() - self._requested
        if want < target // 2 and self._requested:
            return
        if want > 0:
            self._requested += want
            self._heard_at = now
            request = {
                "batch": want,
                "expires": PULL_EXPIRES_SECONDS * 1_000_000_000,
                "idle_heartbeat": PULL_HEARTBEAT_SECONDS * 1_000_000_000,
            }
            await self._nats.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{EVENTS_STREAM}.{SINK_CONSUMER}",
                json.dumps(request).encode(),
                reply=self._inbox,
            )

    async def _on_message(self, message: Msg) -> None:
        self._heard_at = time.monotonic()
        if not message.reply.startswith("$JS.ACK."):
            self._on_status(message.headers or {})
            return
        self._requested = max(0, self._requested - 1)
        delivery = parse_delivery(message.reply)
        self._waiting = delivery.pending
        decided = accept(message.subject, delivery.stream_seq, delivery.ms, message.data)
        batch = self._batch
        if not batch.replies:
            batch.started_at = batch.renewed_at = self._heard_at
            self._wake.set()
        batch.replies.append(message.reply)
        batch.bytes += len(message.data)
        if isinstance(decided, Event):
            batch.events.append(decided)
        else:
            batch.letters.append(DeadLetter(decided, message.data))
        if len(batch.replies) >= self._target_rows() or batch.bytes >= BATCH_BYTES:
            self._wake.set()

    def _on_status(self, headers: dict[str, str]) -> None:
        """The end of a pull request says how many messages it did not deliver; 100 is a heartbeat.

        Source: NATS ADR-37, section "pull errors".
        """
        status = headers.get("Status")
        if status == "100":
            return
        unserved = headers.get("Nats-Pending-Messages")
        self._requested = max(0, self._requested - int(unserved)) if unserved else 0
        if status == "408":
            self._wake.set()
        else:
            # The consumer or its stream is gone (409, 503): made anew before the next request.
            logger.warning("pull ended: %s %s", status, headers.get("Description", ""))
            self._lost = True

    # --- committing -----------------------------------------------------------------------

    def _pause(self) -> float:
        """Seconds until something is due without a message arriving."""
        if not self._batch.replies or len(self._committing) >= COMMITS_IN_FLIGHT:
            return 1.0
        due = self._batch.started_at + self._batch_seconds - time.monotonic()
        return min(1.0, max(0.0, due))

    def _commit_when_ready(self) -> None:
        batch = self._batch
        if not batch.replies or len(self._committing) >= COMMITS_IN_FLIGHT:
            return
        if (
            len(batch.replies) >= self._target_rows()
            or batch.bytes >= BATCH_BYTES
            or time.monotonic() - batch.started_at >= self._batch_seconds
        ):
            self._start_commit()

    def _start_commit(self) -> None:
        batch, self._batch = self._batch, Batch()
        self._committing[batch] = asyncio.create_task(self._commit(batch))

    async def _commit(self, batch: Batch) -> None:
        started = time.monotonic()
        if batch.events:
            batch.letters.extend(await self._store(batch.events))
        if batch.letters:
            await self._put_aside(batch.letters)
        await self._answer(batch.replies, b"+ACK")
        del self._committing[batch]
        self._metrics.batches.inc()
        self._metrics.rows.inc(len(batch.events))
        self._metrics.commit_seconds.observe(time.monotonic() - started)
        self._wake.set()

    async def _store(self, events: list[Event]) -> list[DeadLetter]:
        """Insert the events; returns those that the engine refuses, found by halving."""
        blocks = {TABLE_EVENTS: rows.encode_events(events)}
        if metrics := rows.encode_metrics(events):
            blocks[TABLE_METRICS] = metrics
        attempt = 0
        while True:
            errors = await asyncio.gather(
                *(
                    self._warehouse.insert_json_rows(table, block, **INSERT_SETTINGS)
                    for table, block in blocks.items()
                ),
                return_exceptions=True,
            )
            # An outage comes first: what else is wrong shows when both are tried again, and what
            # one table has taken already replaces itself.
            worst = min((e for e in errors if e is not None), key=_by_outage, default=None)
            if worst is None:
                self._back()
                return []
            if isinstance(worst, RowsRefusedError):
                if len(events) > 1:
                    half = len(events) // 2
                    return await self._store(events[:half]) + await self._store(events[half:])
                event = events[0]
                refused = Rejection(
                    event.id, Reason.REFUSED_BY_WAREHOUSE, str(worst), event.company_id
                )
                return [DeadLetter(refused, event.payload)]
            if not isinstance(worst, WarehouseAwayError):
                raise worst
            await self._wait(attempt, str(worst))
            attempt += 1

    async def _put_aside(self, letters: list[DeadLetter]) -> None:
        attempt = 0
        while True:
            try:
                await dead_letters.publish(self._js, letters)
                await dead_letters.mirror(self._warehouse, letters)
                break
            except (WarehouseAwayError, NatsError, TimeoutError) as error:
                await self._wait(attempt, str(error) or type(error).__name__)
                attempt += 1
        self._back()
        for rejection, _ in letters:
            self._metrics.dead_letters.labels(rejection.reason.value).inc()
            logger.warning("dead letter %s: %s", rejection.id, rejection.detail)

    async def _wait(self, attempt: int, why: str) -> None:
        if self.away is None:
            logger.warning("sink waits, the backlog stays in the stream: %s", why)
        self.away = why
        self._metrics.retries.inc()
        await asyncio.sleep(RETRY_PAUSES_SECONDS[min(attempt, len(RETRY_PAUSES_SECONDS) - 1)])

    def _back(self) -> None:
        if self.away is not None:
            logger.info("sink goes on")
            self.away = None
            self._wake.set()

    # --- answering ------------------------------------------------------------------------

    async def _answer(self, replies: list[str], word: bytes) -> None:
        try:
            for reply in replies:
                await self._nats.publish(reply, word)
        except NatsError as error:
            # What is not acknowledged is delivered again, and replaces itself.
            logger.warning("acknowledgements lost: %s", error or type(error).__name__)

    async def _renew_held(self) -> None:
        """Tell the server that what is held for long is still being worked on."""
        now = time.monotonic()
        for batch in [*self._committing, self._batch]:
            if batch.replies and now - batch.renewed_at >= RENEW_SECONDS:
                batch.renewed_at = now
                await self._answer(batch.replies, b"+WPI")


def _by_outage(error: BaseException) -> int:
    """Faults of our own first, then outages, then refused rows."""
    if isinstance(error, RowsRefusedError):
        return 2
    return 1 if isinstance(error, WarehouseAwayError) else 0
