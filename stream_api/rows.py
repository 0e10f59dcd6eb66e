"""Rows of the warehouse as JSON lines, one encoder for each table that the sink fills."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stream_api.events import Event

_encoder = msgspec.json.Encoder()


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
