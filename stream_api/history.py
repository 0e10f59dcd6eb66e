"""Events that are no longer in memory: from ClickHouse as far as the sink has come, then from the
stream itself.

What the sink's consumer has acknowledged without a hole is committed, so its floor is the seam
between the two: below it the warehouse is complete, above it the stream still has everything.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import Any

from nats.aio.client import Client as Nats
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from config.names import EVENTS_STREAM, SINK_CONSUMER, SSE_EVENT_NAMES
from events.accept import Event, accept
from events.event_id import EventId
from events.stream_range import StreamUnavailableError, epoch_ms, read_batch
from stream_api import frames
from stream_api.channel import Entry, companies_of
from stream_api.losses import Losses
from stream_api.telemetry import StreamMetrics
from stream_api.warehouse import Warehouse, WarehouseAwayError

logger = logging.getLogger(__name__)

# A page is kept for a client as long as its socket takes: its rows follow the size of the events.
PAGE_EVENTS = 1000
PAGE_BYTES = 1024 * 1024
FIRST_PAGE_EVENTS = 100
# Scans read the stream of all companies; a storm of returning clients waits in line for them.
MAX_SCANS = 4
# A committed floor is asked for at most this often, however many clients return at once.
FLOOR_AGE_SECONDS = 0.2
# Stream clocks may step back by this much between two messages; the time only prunes.
CLOCK_SLACK_MS = 3_600_000
# A stream so long without any event says nothing about whether the sink was running.
STORING_WINDOW_MS = 24 * 3_600_000


class HistoryUnavailableError(RuntimeError):
    """Neither the warehouse nor the stream can give the events that were asked for."""


class Place(StrEnum):
    """Where an id was found."""

    HERE = "here"
    OTHER_COMPANY = "other_company"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class History:
    """Reads the events of a company, or of an admin's several joined by commas, in order."""

    def __init__(
        self,
        nats: Nats,
        warehouse: Warehouse | None,
        losses: Losses | None,
        metrics: StreamMetrics,
    ) -> None:
        self._nats = nats
        self._js = nats.jetstream()
        self._warehouse = warehouse
        self._losses = losses
        self._metrics = metrics
        self._scans = asyncio.Semaphore(MAX_SCANS)
        self._floor_lock = asyncio.Lock()
        self._floor = 0
        self._floor_read_at = float("-inf")

    async def read(
        self, company_id: str, after: int, upto: int, life_ms: int
    ) -> AsyncIterator[list[Entry]]:
        """Batches of entries in (after, upto], in order; `life_ms` is the stream's creation.

        Raises:
            HistoryUnavailableError: a part of it can't be had now.
        """
        companies = companies_of(company_id)
        floor = min(await self._committed_floor(), upto)
        stored = [self._from_warehouse(one, after, floor, life_ms) for one in companies]
        try:
            async for entries in in_order(stored):
                yield entries
                after = entries[-1].seq
            after = max(after, floor)
        except WarehouseAwayError as error:
            # The stream has the same events for its 24 hours, and says so when it has not.
            logger.warning("replay without ClickHouse: %s", error)
        if after < upto:
            async for entries in self._from_stream(companies, after, upto):
                yield entries

    async def find(self, company_id: str, wanted: EventId) -> Place:
        """Where an event id stands: with this company, with another, or nowhere.

        Raises:
            HistoryUnavailableError: neither place could be asked, or neither has everything that
                came behind it.
            TimeoutError: the same, not answered in time.
        """
        try:
            if wanted.is_position:
                return await self._find_position(wanted)
            message = await self._js.get_msg(EVENTS_STREAM, seq=wanted.seq, direct=True)
        except NotFoundError:
            return await self._find_in_warehouse(companies_of(company_id), wanted)
        except (NatsError, TimeoutError) as error:
            raise HistoryUnavailableError(str(error)) from error
        ms = epoch_ms((message.headers or {})["Nats-Time-Stamp"])
        found = accept(message.subject or "", wanted.seq, ms, message.data or b"")
        if found.id != wanted:
            return Place.UNKNOWN
        mine = found.company_id in companies_of(company_id)
        return Place.HERE if mine else Place.OTHER_COMPANY

    async def oldest(self, company_id: str, life_ms: int) -> str | None:
        """The oldest resume point that would be honoured; None when nothing is stored."""
        if self._warehouse is not None:
            try:
                lost = await self._losses.known() if self._losses is not None else 0
                found: list[Sequence[Any]] = []
                for one in companies_of(company_id):
                    found += await self._warehouse.rows(
                        "select_oldest_event",
                        {"company_id": one, "from_ms": life_ms, "after": lost},
                    )
                ids = [known for row in found if (known := EventId.parse(str(row[0])))]
                if ids:
                    return str(min(ids, key=lambda known: known.seq))
            except (WarehouseAwayError, TimeoutError):
                pass  # the stream's own beginning is an answer too
        state = (await self._js.stream_info(EVENTS_STREAM)).state
        return str(EventId.position(state.first_seq - 1, life_ms)) if state.messages else None

    async def _find_position(self, wanted: EventId) -> Place:
        """A position is no event: it is honoured where everything behind it is still kept."""
        if wanted.seq + 1 >= (await self._js.stream_info(EVENTS_STREAM)).state.first_seq:
            return Place.HERE
        # Beyond the stream's window the warehouse counts, if it was already storing at that time.
        stored = await self._exists(
            "select_event_around",
            {"from_ms": wanted.ms - STORING_WINDOW_MS, "upto_ms": wanted.ms},
        )
        return await self._unless_lost(wanted) if stored else Place.EXPIRED

    async def _find_in_warehouse(self, companies: list[str], wanted: EventId) -> Place:
        for company_id in companies:
            if await self._exists(
                "select_event_exists",
                {
                    "company_id": company_id,
                    "received_ms": wanted.ms,
                    "seq": wanted.seq,
                    "event_id": str(wanted),
                },
            ):
                return await self._unless_lost(wanted)
        first = (await self._js.stream_info(EVENTS_STREAM)).state.first_seq
        return Place.EXPIRED if wanted.seq < first else Place.UNKNOWN

    async def _unless_lost(self, wanted: EventId) -> Place:
        try:
            lost = await self._losses.known() if self._losses is not None else 0
        except WarehouseAwayError as error:
            raise HistoryUnavailableError(str(error)) from error
        if wanted.seq < lost:
            raise HistoryUnavailableError(f"message {lost} left the stream before it was stored")
        return Place.HERE

    async def _exists(self, name: str, parameters: dict[str, object]) -> bool:
        if self._warehouse is None:
            return False
        try:
            rows = await self._warehouse.rows(name, parameters)
        except WarehouseAwayError as error:
            raise HistoryUnavailableError(str(error)) from error
        return bool(rows[0][0])

    async def _committed_floor(self) -> int:
        """Every message up to here is in the warehouse or a dead letter."""
        if self._warehouse is None:
            return 0
        async with self._floor_lock:
            if time.monotonic() - self._floor_read_at > FLOOR_AGE_SECONDS:
                try:
                    info = await self._js.consumer_info(EVENTS_STREAM, SINK_CONSUMER)
                except NotFoundError:
                    return 0
                self._floor = info.ack_floor.stream_seq if info.ack_floor else 0
                self._floor_read_at = time.monotonic()
            return self._floor

    async def _from_warehouse(
        self, company_id: str, after: int, upto: int, life_ms: int
    ) -> AsyncIterator[list[Entry]]:
        from_ms, page_rows = life_ms, FIRST_PAGE_EVENTS
        while self._warehouse is not None and after < upto:
            rows = await self._warehouse.rows(
                "select_company_events",
                {
                    "company_id": company_id,
                    "from_ms": from_ms,
                    "after": after,
                    "upto": upto,
                    "page_rows": page_rows,
                },
            )
            entries = [
                _entry(str(subject), int(seq), int(ms), str(payload))
                for subject, seq, ms, payload in rows
            ]
            if entries:
                self._metrics.replayed("clickhouse", len(entries))
                yield entries
                after = entries[-1].seq
                from_ms = max(life_ms, entries[-1].ms - CLOCK_SLACK_MS)
            if len(rows) < page_rows:
                return
            size = sum(len(entry.frame) for entry in entries) // len(entries)
            page_rows = min(PAGE_EVENTS, max(1, PAGE_BYTES // size))

    async def _from_stream(
        self, companies: list[str], after: int, upto: int
    ) -> AsyncIterator[list[Entry]]:
        needles = [company_id.encode() for company_id in companies]
        while after < upto:
            # Not over the yield: a client that takes nothing would keep others from reading.
            async with self._scans:
                try:
                    batch = await read_batch(self._nats, EVENTS_STREAM, after + 1, upto)
                except StreamUnavailableError as error:
                    raise HistoryUnavailableError(str(error)) from error
                # Asked afterwards: what the stream has now, it had when it was read.
                first = (await self._js.stream_info(EVENTS_STREAM)).state.first_seq
            if after + 1 < first:
                raise HistoryUnavailableError(
                    f"messages {after + 1}-{first - 1} left the stream before they were stored"
                )
            entries = []
            for subject, seq, ms, data in batch.messages:
                # Most messages are other companies': a search is ten times cheaper than a
                # decode, and `accept` has the last word.
                if any(needle in data for needle in needles):
                    event = accept(subject, seq, ms, data)
                    if isinstance(event, Event) and event.company_id in companies:
                        frame = frames.event_frame(event.name, event.payload, str(event.id))
                        entries.append(Entry(seq, ms, event.name, frame))
            after = batch.complete_upto
            # A client may take its time over the yield; its raw messages need not be kept for it.
            del batch
            if entries:
                self._metrics.replayed("jetstream", len(entries))
                yield entries


async def in_order(sources: Sequence[AsyncIterator[list[Entry]]]) -> AsyncIterator[list[Entry]]:
    """One order out of several sources that are each in order, a batch in hand of each."""
    batches: dict[int, list[Entry]] = {number: [] for number in range(len(sources))}
    while True:
        for number in [number for number, batch in batches.items() if not batch]:
            batch = await anext(sources[number], None)
            if batch is None:
                del batches[number]
            else:
                batches[number] = batch
        if not batches:
            return
        # Up to the lowest of the batches' ends nothing can come in between any more.
        upto = min(batch[-1].seq for batch in batches.values())
        due = (e for batch in batches.values() for e in batch if e.seq <= upto)
        yield sorted(due, key=lambda entry: entry.seq)
        batches = {n: [e for e in batch if e.seq > upto] for n, batch in batches.items()}


def _entry(subject: str, seq: int, ms: int, payload: str) -> Entry:
    name = SSE_EVENT_NAMES[subject.partition(".")[0]]
    frame = frames.event_frame(name, payload.encode(), str(EventId(subject, seq, ms)))
    return Entry(seq, ms, name, frame)
