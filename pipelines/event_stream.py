"""The stream of events for the pipelines: nats-py behind calls that wait.

Dagster's steps are synchronous. One loop a connection runs only while a call waits; between calls
the server hears nothing of us, which it tolerates for minutes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import nats
from nats.aio.client import Client as Nats
from nats.js.errors import NotFoundError

from config import Settings
from config.names import EVENTS_STREAM, SINK_CONSUMER
from events.dead_letters import publish_dead_letter
from events.rows import DeadLetter
from events.stream_range import StoredMessage, first_sequence_since, read_batch
from pipelines.databases import environment_settings

BATCH_MESSAGES = 1000
CONNECT_TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class StreamState:
    """One life of the stream: creation in epoch ms, and the sequences that it still has.

    `next_seq` is one past the last; `first_seq == next_seq` when nothing is kept. `max_age_ms` is
    the replay window, 0 for one without end.
    """

    created_ms: int
    first_seq: int
    next_seq: int
    max_age_ms: int


@dataclass(frozen=True)
class SinkLag:
    """Events that the sink has not acknowledged, and the age of the oldest of them in seconds.

    `window_seconds` is the replay window, 0 for one without end: what is older is gone.
    """

    events: int
    seconds: float
    window_seconds: float


class EventStream:
    """Reads of `ANALYTICS_EVENTS`.

    Every call raises nats.errors.Error, TimeoutError or StreamUnavailableError where the stream
    does not answer.
    """

    def __init__(self, runner: asyncio.Runner, client: Nats) -> None:
        self._runner = runner
        self._nats = client
        self._js = client.jetstream()

    def state(self) -> StreamState:
        """What the stream has now."""
        info = self._runner.run(self._js.stream_info(EVENTS_STREAM))
        if info.created is None:
            raise RuntimeError("the server did not say when the stream was created")
        return StreamState(
            created_ms=int(info.created.timestamp() * 1000),
            first_seq=max(1, info.state.first_seq),
            next_seq=info.state.last_seq + 1,
            max_age_ms=int((info.config.max_age or 0) * 1000),
        )

    def ack_floor(self) -> int:
        """Everything up to this sequence was committed or put aside; 0 without a sink."""
        try:
            info = self._runner.run(self._js.consumer_info(EVENTS_STREAM, SINK_CONSUMER))
        except NotFoundError:
            return 0
        return info.ack_floor.stream_seq if info.ack_floor else 0

    def sink_lag(self) -> SinkLag | None:
        """How far the sink is behind; None when its consumer does not exist.

        Raises:
            nats.js.errors.NotFoundError: the stream does not exist.
        """
        state = self.state()
        try:
            info = self._runner.run(self._js.consumer_info(EVENTS_STREAM, SINK_CONSUMER))
        except NotFoundError:
            return None
        waiting = (info.num_pending or 0) + (info.num_ack_pending or 0)
        window = state.max_age_ms / 1000
        floor = info.ack_floor.stream_seq if info.ack_floor else 0
        start = max(floor + 1, state.first_seq)
        if not waiting or start >= state.next_seq:
            return SinkLag(0, 0.0, window)
        batch = self._runner.run(
            read_batch(self._nats, EVENTS_STREAM, start, state.next_seq - 1, 1)
        )
        if not batch.messages:
            return SinkLag(waiting, 0.0, window)
        return SinkLag(waiting, max(0.0, time.time() - batch.messages[0].ms / 1000), window)

    def first_sequence_since(self, ms: int) -> int | None:
        """Sequence of the first message of that time or later; None when there is none yet."""
        return self._runner.run(first_sequence_since(self._nats, EVENTS_STREAM, ms))

    def read(self, start: int, upto: int) -> Iterator[list[StoredMessage]]:
        """Messages of [start, upto] in order, a thousand or 4 MiB at a time."""
        while start <= upto:
            batch = self._runner.run(
                read_batch(self._nats, EVENTS_STREAM, start, upto, BATCH_MESSAGES)
            )
            yield batch.messages
            start = batch.complete_upto + 1

    def put_aside(self, letters: Sequence[DeadLetter]) -> list[int]:
        """Publish dead letters; returns their sequences in the stream of dead letters."""
        return [self._runner.run(publish_dead_letter(self._js, letter)) for letter in letters]


class EventStreams:
    """Opens the stream by settings that are read at each opening."""

    def __init__(self, read_settings: Callable[[], Settings] = environment_settings) -> None:
        self._read_settings = read_settings

    @contextmanager
    def open(self) -> Iterator[EventStream]:
        """A connection of its own, closed at the end."""
        servers = self._read_settings().nats_url.get_secret_value().split(",")
        with asyncio.Runner() as runner:
            client = runner.run(_connect(servers))
            try:
                yield EventStream(runner, client)
            finally:
                runner.run(client.close())


async def _connect(servers: list[str]) -> Nats:
    return await nats.connect(
        servers,
        name="analytics-pipelines",
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        # A run that can't reach the stream fails at once and says so.
        max_reconnect_attempts=1,
        reconnect_time_wait=1,
    )
