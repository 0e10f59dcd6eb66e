"""The sink: every event of the stream into ClickHouse, acknowledged after the commit.

Any number of instances share one durable consumer. A message that was delivered again regroups
into another batch, so idempotence is the row's: its key is its id (see
`sql/clickhouse/migrations/0001_events.sql`).

While ClickHouse is away nothing more is fetched: the backlog waits in JetStream, and what is held
is renewed. A row that the engine refuses is found by splitting the batch; it alone is put aside.

One page: fetching, committing and answering share the batch and one state of waiting.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial

from nats.errors import Error as NatsError

from config.logging import fields
from config.settings import Settings
from events.accept import Reason, Rejection
from events.rows import INSERT_SETTINGS, DeadLetter
from stream_api import dead_letters
from stream_api.batch import Batch
from stream_api.delivery import parse_delivery
from stream_api.nats_client import NatsClient
from stream_api.pull import Pull
from stream_api.streams import ensure_streams
from stream_api.telemetry import SinkMetrics
from stream_api.warehouse import Outage, RowsRefusedError, Warehouse, WarehouseAwayError
from stream_api.wire import WireMessage

logger = logging.getLogger(__name__)

# Behind by more than a batch, the sink stores larger ones: ClickHouse takes rows several times
# faster at 10,000 a block than at 1,000.
CATCH_UP_ROWS = 40000
BATCH_BYTES = 8 * 1024 * 1024
# Two batches are being committed while the next one fills.
COMMITS_IN_FLIGHT = 2
BATCHES_HELD = COMMITS_IN_FLIGHT + 1
RENEW_SECONDS = 10
RETRY_PAUSES_SECONDS = (0.1, 0.25, 0.5, 1, 2, 5)
DRAIN_SECONDS = 5
# Before a lost consumer is made anew. One that is made in the same moment as it is deleted may find
# the deleted one's state on the server's disk (seen in 1 of 20 tries).
REMAKE_PAUSE_SECONDS = 0.25


class Sink:
    """Runs until it is told to drain. `away` is why nothing can be stored now, None if it can."""

    def __init__(
        self, nats: NatsClient, warehouse: Warehouse, settings: Settings, metrics: SinkMetrics
    ) -> None:
        self._nats = nats
        self._js = nats.jetstream()
        self._warehouse = warehouse
        self._metrics = metrics
        self._settings = settings
        self._batch_rows = settings.clickhouse_batch_size
        self._batch_seconds = settings.clickhouse_batch_timeout_ms / 1000
        self._batch = Batch()
        self._committing: dict[Batch, asyncio.Task[None]] = {}
        self._waiting = 0
        self._wake = asyncio.Event()
        self._pull = Pull(nats, self._take, self._wake.set)
        self._draining = False
        self._fault: Exception | None = None
        self._outage: Outage | None = None
        self._away_since = 0.0
        self.away: str | None = None
        for outage in Outage:
            metrics.waiting_seconds.labels(outage.value).set_function(
                partial(self._waits_seconds, outage)
            )

    async def run(self) -> None:
        """Fetch, commit, acknowledge, until `drain` is called."""
        await self._pull.open()
        while not self._draining:
            self._wake.clear()
            try:
                await self._fetch()
            except (NatsError, TimeoutError) as error:
                logger.warning("sink waits for NATS: %s", error or type(error).__name__)
            self._commit_when_ready()
            await self._renew_held()
            # A fault of our own: let the process end and start anew, since what is held is not
            # acknowledged.
            if self._fault is not None:
                raise self._fault
            for task in self._committing.values():
                if task.done():
                    task.result()
            try:
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def reconnected(self) -> None:
        """The connection is another one: the server has dropped what was asked on the old one."""
        self._pull.forget()

    async def drain(self) -> None:
        """Store what is held if ClickHouse takes it now; give the rest back to the stream."""
        self._draining = True
        self._wake.set()
        await self._pull.close()
        if self._batch.messages:
            self._start_commit()
        if self._committing:
            _, late = await asyncio.wait(self._committing.values(), timeout=DRAIN_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for batch in [*self._committing, self._batch]:
            await self._answer(batch, b"-NAK")

    def held_rows(self) -> int:
        """Messages that were fetched and are not acknowledged."""
        return len(self._batch.messages) + sum(len(b.messages) for b in self._committing)

    @property
    def away_seconds(self) -> float:
        """How long nothing could be stored: the first attempt that failed counts from its start."""
        return time.monotonic() - self._away_since if self.away else 0.0

    def _waits_seconds(self, outage: Outage) -> float:
        return self.away_seconds if self._outage is outage else 0.0

    # --- fetching -------------------------------------------------------------------------

    def _target_rows(self) -> int:
        behind = self._waiting > self._batch_rows
        return max(self._batch_rows, CATCH_UP_ROWS) if behind else self._batch_rows

    async def _fetch(self) -> None:
        pull = self._pull
        pull.forget_if_silent()
        if self.away or pull.messages or not self._nats.is_connected:
            return
        if pull.lost:
            await asyncio.sleep(REMAKE_PAUSE_SECONDS)
            await ensure_streams(self._js, self._settings)
            pull.lost = False
        held_bytes = self._batch.size + sum(batch.size for batch in self._committing)
        want = BATCHES_HELD * self._target_rows() - self.held_rows()
        want_bytes = BATCHES_HELD * BATCH_BYTES - held_bytes
        if want > 0 and want_bytes > 0:
            await pull.ask(want, want_bytes)

    def _take(self, messages: list[WireMessage]) -> None:
        """Decide on the messages of one read: at most 32 KiB, a step of about 1 ms."""
        batch = self._batch
        if not batch.messages:
            batch.started_at = batch.renewed_at = time.monotonic()
            self._wake.set()
        try:
            batch.add(messages)
            self._waiting = parse_delivery(messages[-1][1]).pending
        except Exception as error:
            self._fault = error
        if self._is_full() or self._fault is not None:
            self._wake.set()

    # --- committing -----------------------------------------------------------------------

    def _pause(self) -> float:
        """Seconds until something is due without a message arriving."""
        if not self._batch.messages or len(self._committing) >= COMMITS_IN_FLIGHT:
            return 1.0
        due = self._batch.started_at + self._batch_seconds - time.monotonic()
        return min(1.0, max(0.0, due))

    def _commit_when_ready(self) -> None:
        batch = self._batch
        if not batch.messages or len(self._committing) >= COMMITS_IN_FLIGHT:
            return
        if self._is_full() or time.monotonic() - batch.started_at >= self._batch_seconds:
            self._start_commit()

    def _is_full(self) -> bool:
        batch = self._batch
        return len(batch.messages) >= self._target_rows() or batch.size >= BATCH_BYTES

    def _start_commit(self) -> None:
        batch, self._batch = self._batch, Batch()
        self._committing[batch] = asyncio.create_task(self._commit(batch))

    async def _commit(self, batch: Batch) -> None:
        started = time.monotonic()
        batch.letters.extend(await self._store(batch))
        if batch.letters:
            await self._put_aside(batch.letters)
        await self._answer(batch, b"+ACK")
        del self._committing[batch]
        self._metrics.batches.inc()
        self._metrics.rows.inc(batch.rows)
        self._metrics.commit_seconds.observe(time.monotonic() - started)
        self._wake.set()

    async def _store(self, batch: Batch) -> list[DeadLetter]:
        """Insert the events; returns those that the engine refuses, found by halving."""
        blocks = batch.blocks()
        attempt = 0
        while True:
            since = time.monotonic()
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
                if batch.rows > 1:
                    first, second = await batch.halves()
                    return await self._store(first) + await self._store(second)
                event = batch.only_event()
                refused = Rejection(
                    event.id, Reason.REFUSED_BY_WAREHOUSE, str(worst), event.company_id
                )
                return [DeadLetter(refused, event.payload)]
            if not isinstance(worst, WarehouseAwayError):
                raise worst
            await self._wait(attempt, worst, since)
            attempt += 1

    async def _put_aside(self, letters: list[DeadLetter]) -> None:
        attempt = 0
        while True:
            since = time.monotonic()
            try:
                await dead_letters.put_aside(self._js, self._warehouse, letters)
                break
            except (WarehouseAwayError, NatsError, TimeoutError) as error:
                await self._wait(attempt, error, since)
                attempt += 1
        self._back()
        for rejection, _ in letters:
            self._metrics.dead_letters.labels(rejection.reason.value).inc()
            logger.warning(
                "dead letter",
                extra=fields(
                    event=rejection.id,
                    reason=rejection.reason.value,
                    company=rejection.company_id or "",
                    detail=rejection.detail,
                ),
            )

    async def _wait(self, attempt: int, error: Exception, since: float) -> None:
        why = str(error) or type(error).__name__
        if self.away is None:
            logger.warning("sink waits, the backlog stays in the stream: %s", why)
            self._away_since = since
        self.away = why
        self._outage = error.outage if isinstance(error, WarehouseAwayError) else Outage.NATS
        self._metrics.retries.inc()
        await asyncio.sleep(RETRY_PAUSES_SECONDS[min(attempt, len(RETRY_PAUSES_SECONDS) - 1)])

    def _back(self) -> None:
        if self.away is not None:
            logger.info("sink goes on after %.1f s", self.away_seconds)
            self.away = self._outage = None
            self._wake.set()

    # --- answering ------------------------------------------------------------------------

    async def _answer(self, batch: Batch, word: bytes) -> None:
        try:
            for subjects in batch.reply_subjects():
                await self._nats.publish_to_all(subjects, word)
                await asyncio.sleep(0)
        except NatsError as error:
            # What is not acknowledged is delivered again, and replaces itself.
            logger.warning("acknowledgements lost: %s", error or type(error).__name__)

    async def _renew_held(self) -> None:
        """Tell the server that what is held for long is still being worked on."""
        now = time.monotonic()
        for batch in [*self._committing, self._batch]:
            if batch.messages and now - batch.renewed_at >= RENEW_SECONDS:
                batch.renewed_at = now
                await self._answer(batch, b"+WPI")


def _by_outage(error: BaseException) -> int:
    """Faults of our own first, then outages, then refused rows."""
    if isinstance(error, RowsRefusedError):
        return 2
    return 1 if isinstance(error, WarehouseAwayError) else 0
