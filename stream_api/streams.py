"""JetStream streams and consumers: created or updated at start, never narrowed silently."""

from __future__ import annotations

import json
from collections.abc import Sequence

from nats.aio.client import Client as Nats
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamInfo,
)
from nats.js.errors import NotFoundError

from config.names import (
    DLQ_STREAM,
    DLQ_SUBJECT_PREFIX,
    EVENTS_STREAM,
    SINK_CONSUMER,
)
from config.settings import Settings
from config.subjects import covers
from events.stream_range import epoch_ms

DUPLICATE_WINDOW_SECONDS = 120
# Messages that instances hold between fetch and commit. The default of 1,000 would be less than
# one batch while catching up.
SINK_MAX_ACK_PENDING = 100_000
# What a sink held when it was killed is delivered again after this time. A living sink renews
# what it holds for longer, so an outage of ClickHouse does not make duplicates.
SINK_ACK_WAIT_SECONDS = 30


def events_stream(settings: Settings) -> StreamConfig:
    """Configuration of the stream of events; its age is the replay window."""
    return StreamConfig(
        name=EVENTS_STREAM,
        description="Events of all producers; the replay window",
        subjects=list(settings.subjects),
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        storage=StorageType.FILE,
        max_age=settings.retention_replay_hours * 3600,
        duplicate_window=DUPLICATE_WINDOW_SECONDS,
        allow_direct=True,
    )


def dead_letter_stream(settings: Settings) -> StreamConfig:
    """Configuration of the stream of dead letters."""
    return StreamConfig(
        name=DLQ_STREAM,
        description="Messages that could not be accepted, with their reason",
        subjects=[f"{DLQ_SUBJECT_PREFIX}.>"],
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        storage=StorageType.FILE,
        max_age=settings.retention_dead_letters_days * 86_400,
        duplicate_window=DUPLICATE_WINDOW_SECONDS,
        allow_direct=True,
    )


def sink_consumer() -> ConsumerConfig:
    """Configuration of the durable consumer that all sinks share."""
    return ConsumerConfig(
        durable_name=SINK_CONSUMER,
        description="Stores each event in ClickHouse; acknowledged after the commit",
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=SINK_ACK_WAIT_SECONDS,
        max_deliver=-1,
        max_ack_pending=SINK_MAX_ACK_PENDING,
    )


async def ensure_streams(js: JetStreamContext, settings: Settings) -> None:
    """Create what is missing and widen what is there; safe at any time, by any number at once."""
    for wanted in (events_stream(settings), dead_letter_stream(settings)):
        await _ensure_stream(js, wanted)
    if settings.clickhouse_enabled:
        await js.add_consumer(EVENTS_STREAM, sink_consumer())


async def _ensure_stream(js: JetStreamContext, wanted: StreamConfig) -> None:
    assert wanted.name  # noqa: S101 - for the type: every configuration above has one
    try:
        current = (await js.stream_info(wanted.name)).config
    except NotFoundError:
        await js.add_stream(wanted)
        return
    subjects = widened(current.subjects or [], wanted.subjects or [])
    # 0 means unlimited; an operator who gave the stream more keeps more.
    max_age = 0 if not current.max_age else max(current.max_age, wanted.max_age or 0)
    if (subjects, max_age, current.allow_direct) != (current.subjects, current.max_age, True):
        await js.update_stream(
            current.evolve(subjects=subjects, max_age=max_age, allow_direct=True)
        )


def widened(current: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The subjects of a stream and those that it is to take too; the server wants no overlap."""
    lacking = [one for one in wanted if not any(covers(other, one) for other in current)]
    kept = [one for one in current if not any(covers(other, one) for other in lacking)]
    return kept + lacking


async def last_message_ms(nats: Nats) -> int:
    """Stream time of the newest message of the event stream, also of one that has left it since.

    Asked of the server itself: nats-py leaves it out of what it reads.

    Raises:
        nats.errors.Error: no answer within 5 s.
    """
    answer = await nats.request(f"$JS.API.STREAM.INFO.{EVENTS_STREAM}", b"", timeout=5)
    return epoch_ms(json.loads(answer.data)["state"]["last_ts"])


def created_ms(info: StreamInfo) -> int:
    """Creation of the stream in epoch milliseconds: tells one life of it from the next."""
    if info.created is None:
        raise ValueError("the server did not say when the stream was created")
    return int(info.created.timestamp() * 1000)
