"""The stream of events for the pipelines: nats-py behind calls that wait.

Dagster's steps are synchronous. One loop a connection runs only while a call waits; between calls
the server hears nothing of us, which it tolerates for minutes.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import nats
from nats.aio.client import Client as Nats
from nats.js.errors import NotFoundError

from config import Settings
from config.names import ERASURES_BUCKET, EVENTS_STREAM, SINK_CONSUMER
from events.dead_letters import publish_dead_letter
from events.rows import DeadLetter
from events.stream_range import (
    StoredMessage,
    StreamUnavailableError,
    first_sequence_since,
    read_batch,
)
from pipelines.databases import environment_settings
from pipelines.progress import SILENT, Progress

BATCH_MESSAGES = 1000
CONNECT_TIMEOUT_SECONDS = 10
# Deletions that are under way at once; 100 that overwrite take the server 2 s.
DELETIONS_AT_ONCE = 100
DELETION_TIMEOUT_SECONDS = 30
OVERWRITTEN_MESSAGES = 2000
SINK_POLL_SECONDS = 0.1
# The server's words for a message that is not there: no message found, sequence not found.
NO_SUCH_MESSAGE = {10037, 10043}


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
    """Reads of `ANALYTICS_EVENTS`, and upkeep of the streams beside it.

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

    def age(self, name: str) -> int | None:
        """Seconds that the stream `name` keeps messages, 0 for ever; None without the stream."""
        try:
            info = self._runner.run(self._js.stream_info(name))
        except NotFoundError:
            return None
        return int(info.config.max_age or 0)

    def change_age(self, name: str, seconds: int) -> None:
        """Keep the messages of `name` for so long from now on."""
        info = self._runner.run(self._js.stream_info(name))
        self._runner.run(self._js.update_stream(info.config.evolve(max_age=seconds)))

    def size(self, name: str) -> int:
        """Messages that the stream `name` has now; none without it."""
        try:
            info = self._runner.run(self._js.stream_info(name))
        except NotFoundError:
            return 0
        return int(info.state.messages)

    def scan(self, name: str) -> Iterator[list[StoredMessage]]:
        """All messages of the stream `name` up to the one that is its last now; none without it."""
        try:
            info = self._runner.run(self._js.stream_info(name))
        except NotFoundError:
            return
        start, upto = max(1, info.state.first_seq), info.state.last_seq
        while start <= upto:
            batch = self._runner.run(read_batch(self._nats, name, start, upto, BATCH_MESSAGES))
            yield batch.messages
            start = batch.complete_upto + 1

    def delete(self, name: str, seqs: Sequence[int], progress: Progress = SILENT) -> int:
        """Delete messages of the stream `name`; returns how many were there.

        Up to 2,000 at once their bytes are overwritten as well: that is 20 ms a message against
        0.1 ms. Of more, the bytes leave the disk with the age of the stream. One that is gone
        already is no error, and the sequences of others stay as they are.

        Raises:
            StreamUnavailableError: the server refused a deletion.
        """
        overwrite = len(seqs) <= OVERWRITTEN_MESSAGES
        return self._runner.run(self._delete(name, seqs, overwrite, progress))

    async def _delete(
        self, name: str, seqs: Sequence[int], overwrite: bool, progress: Progress
    ) -> int:
        async def delete_one(seq: int) -> bool:
            # nats-py knows no `no_erase`.
            answer = await self._nats.request(
                f"$JS.API.STREAM.MSG.DELETE.{name}",
                json.dumps({"seq": seq, "no_erase": not overwrite}).encode(),
                timeout=DELETION_TIMEOUT_SECONDS,
            )
            said = json.loads(answer.data)
            error = said.get("error", {})
            if error and error.get("err_code") not in NO_SUCH_MESSAGE:
                raise StreamUnavailableError(f"{name} kept message {seq}: {error}")
            return bool(said.get("success"))

        deleted = 0
        for begin in range(0, len(seqs), DELETIONS_AT_ONCE):
            some = seqs[begin : begin + DELETIONS_AT_ONCE]
            deleted += sum(await asyncio.gather(*map(delete_one, some)))
            progress.advance(len(some))
        return deleted

    def wait_for_sink(self, seconds: float) -> bool:
        """Wait until all that is in the stream by now is stored, or no sink can be storing it.

        A sink writes what it holds, though the message is deleted meanwhile, and the server counts
        a deleted message as held by nobody: so this comes before a deletion. False when `seconds`
        pass first.
        """
        try:
            last = self.state().next_seq - 1
        except NotFoundError:
            return True
        until = time.monotonic() + seconds
        while True:
            try:
                info = self._runner.run(self._js.consumer_info(EVENTS_STREAM, SINK_CONSUMER))
            except NotFoundError:
                return True
            stored = info.ack_floor is not None and info.ack_floor.stream_seq >= last
            # Nothing is left to be delivered, or nobody asks for it.
            idle = not info.num_ack_pending and not (info.num_pending and info.num_waiting)
            if stored or idle:
                return True
            if time.monotonic() >= until:
                return False
            self._runner.run(asyncio.sleep(SINK_POLL_SECONDS))

    def keep_erasure(self, key: str, value: bytes) -> None:
        """Put an entry of the ledger of erasures where no restore of a database reaches."""
        self._runner.run(self._keep_erasure(key, value))

    async def _keep_erasure(self, key: str, value: bytes) -> None:
        try:
            bucket = await self._js.key_value(ERASURES_BUCKET)
        except NotFoundError:
            bucket = await self._js.create_key_value(bucket=ERASURES_BUCKET)
        await bucket.put(key, value)

    def kept_erasures(self) -> list[bytes]:
        """All entries that were put there."""
        return self._runner.run(self._kept_erasures())

    async def _kept_erasures(self) -> list[bytes]:
        # Not by `keys()`: nats-py takes a bucket for read to its end when the server has sent it
        # all, also what it has not looked at yet itself, and then says that there is nothing.
        bucket = f"KV_{ERASURES_BUCKET}"
        try:
            state = (await self._js.stream_info(bucket)).state
            values, seq = [], state.first_seq
            while seq <= state.last_seq:
                entry = await self._js.get_msg(bucket, seq=seq, subject=">", next=True)
                values.append(entry.data or b"")
                seq = (entry.seq or seq) + 1
        except NotFoundError:
            return []
        return values

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
        error_cb=_ignore,
    )


async def _ignore(_: Exception) -> None:
    """The error is raised as well; nats-py would log it with a traceback."""
