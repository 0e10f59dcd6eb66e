"""Proof of one event: where it is and was, from the stream to its rows.

Only places that hold the event for certain are asked, each by its key, so a proof costs a handful
of point reads. Nothing is remembered per event.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nats.aio.client import Client as Nats
from nats.js.errors import NotFoundError

from config.names import EVENTS_STREAM, SINK_CONSUMER
from events.accept import Event, Rejection, accept
from events.event_id import EventId
from events.history import accept_history
from events.stream_range import epoch_ms
from stream_api.hub import Hub
from stream_api.letter_box import LetterBox
from stream_api.letters import REPLAYED, Letter
from stream_api.warehouse import Warehouse


class Verdict(StrEnum):
    """What the places together say."""

    STORED = "stored"
    PENDING = "pending"
    DEAD_LETTER = "dead_letter"
    MISSING = "missing"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Proof:
    """What each place holds of one event; None where a place has nothing to say.

    `rows_on_disk` counts deliveries, `rows` what a reader sees. `metric_rows` is None for an event
    that is no metric. `published` means that this instance has sent it to its live streams.
    """

    id: EventId
    in_stream: bool
    ack_floor: int
    rows: int
    rows_on_disk: int
    metric_rows: int | None
    letter: Letter | None
    in_ring: bool
    published: bool

    @property
    def below_floor(self) -> bool:
        """Everything up to the floor was acknowledged, so committed or put aside."""
        return not self.id.is_import and self.id.seq <= self.ack_floor

    @property
    def verdict(self) -> Verdict:
        if self.rows and self.metric_rows != 0:
            return Verdict.STORED
        if self.letter is not None and self.letter.state != REPLAYED:
            return Verdict.DEAD_LETTER
        if self.in_stream and not self.below_floor:
            return Verdict.PENDING
        # What has left the stream may have been taken by retention as well.
        return Verdict.MISSING if self.in_stream or self.rows else Verdict.UNKNOWN


class Prover:
    """Looks one event up for one company."""

    def __init__(self, nats: Nats, warehouse: Warehouse, hub: Hub) -> None:
        self._js = nats.jetstream()
        self._warehouse = warehouse
        self._hub = hub
        self._box = LetterBox(nats, warehouse)

    async def prove(self, company_id: str, event_id: EventId) -> Proof | None:
        """The proof; None when no place knows the id as this company's.

        Raises:
            WarehouseAwayError, nats.errors.Error, TimeoutError: a place could not be asked.
        """
        # Before the rows: what is below this floor was committed before they are read.
        floor = await self._ack_floor()
        streamed = await self._streamed(event_id)
        found = await self._warehouse.rows("select_event_rows", _event_key(company_id, event_id))
        letter = await self._box.find(event_id)
        if letter is not None and letter.company_id != company_id:
            letter = None
        of_company = streamed is not None and streamed.company_id == company_id
        if not (of_company or found or letter):
            return None
        event = streamed if of_company else _stored(event_id, found)
        channel = self._hub.channel(company_id)
        return Proof(
            id=event_id,
            in_stream=of_company,
            ack_floor=floor,
            rows=await self._count_rows(company_id, event_id) if found else 0,
            rows_on_disk=len(found),
            metric_rows=await self._count_metric_rows(event),
            letter=letter,
            in_ring=any(one.seq == event_id.seq and one.ms == event_id.ms for one in channel.ring),
            published=isinstance(event, Event)
            and event_id.ms >= self._hub.stream_created_ms
            and self._hub.start_seq < event_id.seq <= self._hub.position.seq,
        )

    async def _ack_floor(self) -> int:
        try:
            info = await self._js.consumer_info(EVENTS_STREAM, SINK_CONSUMER)
        except NotFoundError:
            return 0
        return info.ack_floor.stream_seq if info.ack_floor else 0

    async def _streamed(self, event_id: EventId) -> Event | Rejection | None:
        if event_id.is_import or event_id.is_position:
            return None
        try:
            message = await self._js.get_msg(EVENTS_STREAM, seq=event_id.seq, direct=True)
        except NotFoundError:
            return None
        ms = epoch_ms((message.headers or {})["Nats-Time-Stamp"])
        decided = accept(message.subject or "", event_id.seq, ms, message.data or b"")
        return decided if decided.id == event_id else None

    async def _count_rows(self, company_id: str, event_id: EventId) -> int:
        rows = await self._warehouse.rows("select_event_exists", _event_key(company_id, event_id))
        return int(rows[0][0])

    async def _count_metric_rows(self, event: Event | Rejection | None) -> int | None:
        if not isinstance(event, Event) or not event.metric_name:
            return None
        rows = await self._warehouse.rows(
            "count_metric_rows",
            {
                "company_id": event.company_id,
                "metric_name": event.metric_name,
                "period_start": event.period_start,
                "event_id": str(event.id),
            },
        )
        return int(rows[0][0])


def _event_key(company_id: str, event_id: EventId) -> dict[str, Any]:
    return {
        "company_id": company_id,
        "received_ms": event_id.ms,
        "seq": event_id.seq,
        "event_id": str(event_id),
    }


def _stored(event_id: EventId, rows: Any) -> Event | Rejection | None:
    """The event as its stored payload says, for what has left the stream."""
    if not rows:
        return None
    subject, payload = str(rows[0][0]), str(rows[0][1]).encode()
    if event_id.is_import:
        return accept_history(subject, payload, event_id.ms + 1, event_id.ms)
    return accept(subject, event_id.seq, event_id.ms, payload)
