"""Rows of the warehouse as JSON lines, one encoder for each table that events are written to.

The sink, a replay of dead letters, a repair and an import all write through these, so that one
event makes one row whoever stores it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from config.names import MAX_DEAD_LETTER_BYTES
from events.accept import Event, Rejection

MAX_DETAIL_CHARACTERS = 1000

INSERT_SETTINGS: Final[dict[str, Any]] = {
    # Periods may lie in many months; the default of 100 would refuse a batch of history.
    "max_partitions_per_insert_block": 0,
    # The whole batch is one block, so it is committed whole or not at all.
    "max_insert_block_size": 1_000_000,
    "input_format_parallel_parsing": 0,
    "async_insert": 0,
}

_encoder = msgspec.json.Encoder()


class DeadLetter(NamedTuple):
    """A rejection and the producer's bytes."""

    rejection: Rejection
    raw: bytes


class _EventRow(msgspec.Struct):
    event_id: str
    event_type: str
    company_id: str
    user_id: str | None
    timestamp: float
    received_at: float
    stream_seq: int
    payload: str


class _MetricRow(msgspec.Struct):
    company_id: str
    metric_name: str
    metric_value: float
    period_start: str
    timestamp: float
    user_id: str | None
    dimensions: str
    event_id: str


class _LetterRow(msgspec.Struct):
    dead_letter_id: str
    subject: str
    stream_seq: int
    received_at: float
    company_id: str | None
    reason: str
    detail: str
    payload: str
    payload_bytes: int
    payload_sha256: str
    dlq_seq: int


def encode_events(events: Sequence[Event]) -> bytes:
    """Rows of the table `events`.

    Times go as epoch seconds with three digits: 13 significant digits, which a float's shortest
    text gives back exactly.
    """
    return _encoder.encode_lines(
        [
            _EventRow(
                event_id=str(event.id),
                event_type=event.id.subject,
                company_id=event.company_id,
                user_id=event.user_id,
                timestamp=event.timestamp_ms / 1000,
                received_at=event.id.ms / 1000,
                stream_seq=event.id.seq,
                payload=event.payload.decode(),
            )
            for event in events
        ]
    )


def encode_metrics(events: Sequence[Event]) -> bytes:
    """Rows of the table `metrics_timeseries`, of the events that are metrics; may be empty."""
    return _encoder.encode_lines(
        [
            _MetricRow(
                company_id=event.company_id,
                metric_name=event.metric_name,
                metric_value=event.metric_value,
                period_start=event.period_start.isoformat(),
                timestamp=event.timestamp_ms / 1000,
                user_id=event.user_id,
                dimensions=event.dimensions,
                event_id=str(event.id),
            )
            for event in events
            if event.metric_name
        ]
    )


def encode_dead_letters(letters: Sequence[DeadLetter], dlq_seqs: Sequence[int]) -> bytes:
    """Rows of the table `dead_letters`.

    `dlq_seqs` are the letters' sequences in the stream of dead letters, where their exact bytes
    are; 0 for a letter that is in no stream. Here what is no UTF-8 is shown as such; the hash tells
    whether the text is the bytes.
    """
    return _encoder.encode_lines(
        [
            _LetterRow(
                dead_letter_id=str(rejection.id),
                subject=rejection.id.subject,
                stream_seq=rejection.id.seq,
                received_at=rejection.id.ms / 1000,
                company_id=rejection.company_id,
                reason=rejection.reason.value,
                detail=rejection.detail[:MAX_DETAIL_CHARACTERS],
                payload=raw[:MAX_DEAD_LETTER_BYTES].decode(errors="backslashreplace"),
                payload_bytes=len(raw),
                payload_sha256=hashlib.sha256(raw).hexdigest(),
                dlq_seq=dlq_seq,
            )
            for (rejection, raw), dlq_seq in zip(letters, dlq_seqs, strict=True)
        ]
    )
