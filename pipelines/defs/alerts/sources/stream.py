"""The sink: is its consumer there, and how far is it behind the stream?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from nats.js.errors import NotFoundError

from config.names import EVENTS_STREAM, SINK_CONSUMER
from pipelines.defs.alerts.condition import Condition, Severity, span
from pipelines.event_stream import EventStream, SinkLag

# The sink stores within its batch timeout, 10 s by default.
WARNING_SECONDS = 10 * 60
ERROR_SECONDS = 3600
# What is older than the replay window is lost: a quarter of it is 6 h of 24 h.
CRITICAL_SHARE = 4
DEFAULT_WINDOW_SECONDS = 24 * 3600
# Streams and consumers are made at the sidecar's start, which may be after ours.
PATIENCE = timedelta(minutes=1)


def sink_troubles(stream: EventStream) -> Iterator[Condition]:
    """A missing stream or consumer, or a lag."""
    try:
        lag = stream.sink_lag()
    except NotFoundError:
        yield Condition(
            "stream/missing",
            Severity.CRITICAL,
            f"stream {EVENTS_STREAM} does not exist: events that are published now are lost",
            "alert-stream",
            PATIENCE,
        )
        return
    if lag is None:
        yield Condition(
            "stream/consumer",
            Severity.CRITICAL,
            f"consumer {SINK_CONSUMER} does not exist: nothing is stored in ClickHouse",
            "alert-stream",
            PATIENCE,
        )
        return
    severity = judge(lag)
    if severity is not None:
        window = lag.window_seconds or DEFAULT_WINDOW_SECONDS
        yield Condition(
            "stream/lag",
            severity,
            f"the sink is {span(lag.seconds)} and {lag.events} events behind; "
            f"what is {span(window)} old and not stored is lost",
            "alert-stream",
        )


def judge(lag: SinkLag) -> Severity | None:
    """By the age of the oldest event that is not stored."""
    window = lag.window_seconds or DEFAULT_WINDOW_SECONDS
    if lag.seconds >= window / CRITICAL_SHARE:
        return Severity.CRITICAL
    if lag.seconds >= min(ERROR_SECONDS, window / CRITICAL_SHARE / 2):
        return Severity.ERROR
    if lag.seconds >= WARNING_SECONDS:
        return Severity.WARNING
    return None
