"""Events that are no longer in memory: from ClickHouse as far as the sink has come, then from the
stream itself.

What the sink's consumer has acknowledged without a hole is committed, so its floor is the seam
between the two: below it the warehouse is complete, above it the stream still has everything.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from datetime import datetime
from enum import StrEnum

from nats.aio.client import Client as Nats
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from config.names import EVENTS_STREAM, SINK_CONSUMER, SSE_EVENT_NAMES
from stream_api import frames
from stream_api.channel import Entry
from stream_api.event_id import EventId
from stream_api.events import Event, accept
from stream_api.telemetry import StreamMetrics
from stream_api.warehouse import Warehouse, WarehouseAwayError

logger = logging.getLogger(__name__)

PAGE_EVENTS = 1000
# The server answers one request with so many messages at most.
SCAN_BATCH = 512
SCAN_BATCH_BYTES = 4 * 1024 * 1024
SCAN_TIMEOUT_SECONDS = 5.0
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
    """Reads one company's events after a sequence, whole and in order."""

    def __init__(self, nats: Nats, warehouse: Warehouse | None, metrics: StreamMetrics) -> None:
        self._nats = nats
        self._js = nats.jetstream()
        self._warehouse = warehouse
        self._metrics = metrics
        self._scans = asyncio.Semaphore(MAX_SCANS)
        self._floor_lock = asyncio.Lock()
        self._floor = 0
        self._floor_read_at = float("-inf")

    async def read(
        self, company_id: str, after: int, upto: int, life_ms: int
    ) -> AsyncIterator[list[Entry]]:
        """Batches of the company's entries in (after, upto]; `life_ms` is the stream's creation.

        Raises:
            HistoryUnavailableError: a part of it can't be had now.
        """
        floor = min(await self._committed_floor(), upto)
        try:
            async for entries in self._from_warehouse(company_id, after, floor, life_ms):
                yield entries
                after = entries[-1].seq
            after = max(after, floor)
        except WarehouseAwayError as error:
            # The stream has the same events for its 24 hours, and says so when it has not.
            logger.warning("replay without ClickHouse: %s", error)
        if after < upto:
            async for entries in self._from_stream(company_id, after, upto):
                yield entries

    async def find(self, company_id: str, wanted: EventId) -> Place:
        """Where an event id stands: with this company, with another, or nowhere.

        Raises:
            HistoryUnavailableError: neither place could be asked.
        """
        try:
            if wanted.is_position:
                return await self._find_position(wanted)
            message = await self._js.get_msg(EVENTS_STREAM, seq=wanted.seq, direct=True)
        except NotFoundError:
            return await self._find_in_warehouse(company_id, wanted)
        except (NatsError, TimeoutError) as error:
            raise HistoryUnavailableError(str(error)) from error
        ms = _epoch_ms((message.headers or {})["Nats-Time-Stamp"])
        found = accept(message.subject or "", wanted.seq, ms, message.data or b"")
        if found.id != wanted:
            return Place.UNKNOWN
        return Place.HERE if found.company_id == company_id else Place.OTHER_COMPANY

    async def oldest(self, company_id: str, life_ms: int) -> str | None:
        """The oldest resume point that would be honoured; None when nothing is stored."""
        if self._warehouse is not None:
            try:
                rows = await self._warehouse.rows(
                    "select_oldest_event", {"company_id": company_id, "from_ms": life_ms}
                )
                if rows:
                    return str(rows[0][0])
            except WarehouseAwayError:
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
        return Place.HERE if stored else Place.EXPIRED

    async def _find_in_warehouse(self, company_id: str, wanted: EventId) -> Place:
        if await self._exists(
            "select_event_exists",
            {
                "company_id": company_id,
                "received_ms": wanted.ms,
                "seq": wanted.seq,
                "event_id": str(wanted),
            },
        ):
            return Place.HERE
        first = (await self._js.stream_info(EVENTS_STREAM)).state.first_seq
        return Place.EXPIRED if wanted.seq < first else Place.UNKNOWN

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
        from_ms = life_ms
        while self._warehouse is not None and after < upto:
            rows = await self._warehouse.rows(
                "select_company_events",
                {
                    "company_id": company_id,
                    "from_ms": from_ms,
                    "after": after,
                    "upto": upto,
                    "page_rows": PAGE_EVENTS,
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
            if len(rows) < PAGE_EVENTS:
                return

    async def _from_stream(
        self, company_id: str, after: int, upto: int
    ) -> AsyncIterator[list[Entry]]:
        needle = company_id.encode()
        async with self._scans:
            first = (await self._js.stream_info(EVENTS_STREAM)).state.first_seq
            if after + 1 < first:
                raise HistoryUnavailableError(
                    f"messages {after + 1}-{first - 1} left the stream before they were stored"
                )
            while after < upto:
                messages, last = await self._scan(after + 1, upto)
                entries = []
                for subject, seq, ms, data in messages:
                    # Most messages are other companies': a search is ten times cheaper than a
                    # decode, and `accept` has the last word.
                    if needle in data:
                        event = accept(subject, seq, ms, data)
                        if isinstance(event, Event) and event.company_id == company_id:
                            entries.append(
                                Entry(
                                    seq,
                                    ms,
                                    event.name,
                                    frames.event_frame(event.name, event.payload, str(event.id)),
                                )
                            )
                after = last
                if entries:
                    self._metrics.replayed("jetstream", len(entries))
                    yield entries

    async def _scan(self, start: int, upto: int) -> tuple[list[tuple[str, int, int, bytes]], int]:
        """One batch of messages from `start`, and the sequence up to which it is complete.

        Source: NATS ADR-31, batched direct get (server 2.11 and later).
        """
        inbox = self._nats.new_inbox()
        subscription = await self._nats.subscribe(inbox)
        found: list[tuple[str, int, int, bytes]] = []
        seen = start - 1
        try:
            request = {
                "seq": start,
                "batch": min(SCAN_BATCH, upto - start + 1),
                "max_bytes": SCAN_BATCH_BYTES,
            }
            await self._nats.publish(
                f"$JS.API.DIRECT.GET.{EVENTS_STREAM}", json.dumps(request).encode(), reply=inbox
            )
            while True:
                message = await subscription.next_msg(timeout=SCAN_TIMEOUT_SECONDS)
                headers = message.headers or {}
                if "Nats-Sequence" not in headers:
                    return found, min(upto, _complete_upto(headers, seen, start, upto))
                seen = int(headers["Nats-Sequence"])
                if seen <= upto:
                    ms = _epoch_ms(headers["Nats-Time-Stamp"])
                    found.append((headers["Nats-Subject"], seen, ms, message.data))
        except (NatsError, TimeoutError) as error:
            raise HistoryUnavailableError(f"the stream did not answer: {error}") from error
        finally:
            await subscription.unsubscribe()


def _complete_upto(headers: dict[str, str], seen: int, start: int, upto: int) -> int:
    """Read the end of a batch: 204 after messages, 404 when there is none from `start` on."""
    status = headers.get("Status", "")
    if status == "404" or (status == "204" and headers.get("Nats-Num-Pending") == "0"):
        return upto
    if status == "204" and seen >= start:
        return seen
    raise HistoryUnavailableError(
        f"the stream answered {status or 'nothing'} {headers.get('Description', '')} from "
        f"{start}; batched direct get needs a NATS server of 2.11 or later"
    )


def _entry(subject: str, seq: int, ms: int, payload: str) -> Entry:
    name = SSE_EVENT_NAMES[subject.partition(".")[0]]
    frame = frames.event_frame(name, payload.encode(), str(EventId(subject, seq, ms)))
    return Entry(seq, ms, name, frame)


def _epoch_ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    # By whole numbers: a float of seconds rounds the last millisecond up now and then.
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000
