"""The hub: every event of the stream in, every company's open streams out.

All of it runs on one event loop, so a step without `await` is atomic: that is what makes the seam
between replay and live exact. One page for that reason: what shares a step is read together.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from events.accept import Event
from events.event_id import EventId
from stream_api import frames
from stream_api.channel import SEVERAL, Channel, Entry, companies_of
from stream_api.channels import Channels
from stream_api.closing import Closing
from stream_api.connection import Connection, Ending, ResetReason
from stream_api.telemetry import StreamMetrics

# Clients that a draining instance sends away come back at random within this time.
DRAIN_RETRY_SPREAD_MS = (500, 5000)
# A client that does not take its farewell within this time is cut.
FAREWELL_SECONDS = 2.0


class Hub:
    """Channels of all companies, and the place in the stream that this instance has reached."""

    def __init__(
        self,
        *,
        metrics: StreamMetrics,
        pace_ms: int,
        buffer_bytes: int,
        stall_seconds: float,
        heartbeat_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._pace_seconds = pace_ms / 1000
        self._buffer_bytes = buffer_bytes
        self._stall_seconds = stall_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock
        # A heartbeat period is cut into slices of about a second, so that not all streams are
        # written to at once.
        self._slices = max(1, round(heartbeat_seconds))
        self._admitted = 0
        self._channels = Channels(self._make_channel)
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        # Accepted by a route and not ended yet, catching up or live.
        self.open: set[Connection] = set()
        self._closing = Closing()
        self._open_by_company: dict[str, int] = {}
        self.draining = False
        # One life of the stream: its creation time in epoch ms tells it from a recreated one.
        self.stream_created_ms = 0
        self.start_seq = 0
        # Sequence and stream time of what was read last.
        self._read = (0, 0)
        self._life_began = asyncio.Event()

    @property
    def position(self) -> EventId:
        """The resume point behind what was read last."""
        return EventId.position(*self._read)

    # --- events in ------------------------------------------------------------------------

    def begin(self, created_ms: int, after_seq: int, ms: int) -> None:
        """Start reading a life of the stream after `after_seq`; forgets one before it.

        Live streams are told by a `reset`: what the old life still had for them is not known.
        """
        self._life_began.set()
        self._life_began = asyncio.Event()
        first_life = self.stream_created_ms == 0
        self.stream_created_ms = created_ms
        self.start_seq = after_seq
        self._read = (after_seq, max(ms, created_ms))
        # In this order: who is cut in between comes back with its old id, and is told then.
        lost = frames.control_frame(
            "reset", {"reason": ResetReason.OTHER_STREAM.value, "oldestAvailable": None}
        ) + frames.id_frame(str(self.position))
        for channel in self.channels():
            channel.forget(after_seq)
            if not first_life:
                for connection in channel.connections():
                    self._metrics.reset(ResetReason.OTHER_STREAM.value)
                    connection.send(lost)

    def publish(self, events: Sequence[Event], seq: int, ms: int) -> None:
        """Take the next events: what one read has brought, the stream being read up to `seq` now.

        What is due of them is written before this returns: no timer, task or turn of the loop.
        """
        due: list[Channel] = []
        for event in events:
            entry = Entry(
                event.id.seq,
                event.id.ms,
                event.name,
                frames.event_frame(event.name, event.payload, str(event.id)),
            )
            for channel in self._channels.of(event.company_id, self.start_seq):
                if channel.publish(entry):
                    due.append(channel)
        self._read = (seq, ms)
        if self._waiters:
            for wanted, waiter in self._waiters:
                if wanted <= seq and not waiter.done():
                    waiter.set_result(None)
            self._waiters = [w for w in self._waiters if not w[1].done()]
        for channel in due:
            channel.flush()

    def forget(self, company_id: str) -> None:
        """Drop what is kept in memory of a company's past; live streams go on.

        Who resumes in it is served from the warehouse and the stream, out of which an erasure has
        taken what must not be shown.
        """
        for channel in self.channels():
            if company_id in companies_of(channel.company_id):
                channel.forget(self.position.seq)

    async def reached(self, seq: int, timeout: float) -> bool:
        """Wait until the stream was read up to `seq`; False when `timeout` seconds pass first."""
        if self.position.seq >= seq:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((seq, waiter))
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except TimeoutError:
            return False
        finally:
            self._waiters = [w for w in self._waiters if w[1] is not waiter]
        return True

    async def know_life_of(self, wanted: EventId, timeout: float) -> None:
        """Wait, at most `timeout` seconds, if `wanted` seems to be of a life not begun here yet.

        It does when it is later than what was read last under a higher sequence. (After a change of
        leader a stream's clock may go back a little: then it only seems so.)
        """
        if wanted.seq <= self.position.seq and wanted.ms > self.position.ms:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._life_began.wait()

    def find_channel(self, name: str) -> Channel | None:
        """The channel of a company or of several, if there is one already."""
        return self._channels.find(name)

    def channel(self, name: str) -> Channel:
        """The channel of a company, made when there is none, or that of several with open streams.

        Nothing of a new company has been seen since the start, so its ring is complete from there.
        """
        return self._channels.find(name) or self._channels.get(name, self.start_seq)

    # --- streams out ----------------------------------------------------------------------

    def admit(self, connection: Connection) -> None:
        """Count a connection from its acceptance on, before it is caught up."""
        self.open.add(connection)
        connection.beat = self._admitted % self._slices
        self._admitted += 1
        for company in companies_of(connection.company_id):
            self._open_by_company[company] = self._open_by_company.get(company, 0) + 1
        if SEVERAL in connection.company_id:
            # From here on its ring fills, while the stream catches up.
            self._channels.join(connection.company_id, self.position.seq)
        self._metrics.opened()

    def release(self, connection: Connection, ending: Ending) -> None:
        """Forget a connection; the first ending that is named counts."""
        if connection not in self.open:
            return
        self.open.discard(connection)
        connection.ended = ending
        if connection.expiry is not None:
            connection.expiry.cancel()
            connection.expiry = None
        for company in companies_of(connection.company_id):
            left = self._open_by_company[company] - 1
            if left:
                self._open_by_company[company] = left
            else:
                del self._open_by_company[company]
        name = connection.company_id
        channel = self._channels.find(name)
        if channel is not None:
            channel.detach(connection)
        if SEVERAL in name and not any(other.company_id == name for other in self.open):
            self._channels.part(name)
        self._metrics.closed(ending)

    def connection_count(self, company_id: str | None = None) -> int:
        """Open streams of a company, or of all."""
        if company_id is None:
            return len(self.open)
        return self._open_by_company.get(company_id, 0)

    def end(self, connection: Connection, ending: Ending, retry_ms: int = frames.RETRY_MS) -> None:
        """Say goodbye to a client and end its stream in good order."""
        if connection.ended is not None:
            return
        self.release(connection, ending)
        connection.finish(
            frames.retry_frame(retry_ms) + frames.control_frame("bye", {"reason": ending.value})
        )
        if connection.unsent_bytes():
            asyncio.get_running_loop().call_later(FAREWELL_SECONDS, connection.abort)

    def end_company(self, company_id: str, ending: Ending) -> None:
        """End all streams that carry events of one company."""
        for connection in [c for c in self.open if company_id in companies_of(c.company_id)]:
            self.end(connection, ending)

    def drain(self) -> None:
        """End every stream; clients return at times spread at random, to any instance."""
        self.draining = True
        for channel in self.channels():
            channel.flush()
        for connection in list(self.open):
            self.end(connection, Ending.DRAIN, random.randint(*DRAIN_RETRY_SPREAD_MS))  # noqa: S311

    def cut(self, connection: Connection, ending: Ending) -> None:
        """Cut a client that does not read; it resumes by its last id."""
        if connection.ended is None:
            self.release(connection, ending)
            self._closing.add(connection)

    async def run_heartbeat(self) -> None:
        """Send heartbeats and cut stalled readers, a slice of the connections each second."""
        slice_number = 0
        pause = self._heartbeat_seconds / self._slices
        while True:
            await asyncio.sleep(pause)
            slice_number = (slice_number + 1) % self._slices
            self.sweep(slice_number)

    def sweep(self, slice_number: int) -> None:
        """Heartbeat one slice of the live connections; look at all open ones for stalled ones.

        One that is catching up counts as well: its replay waits for a socket that takes nothing.
        """
        now = self._clock()
        for connection in list(self.open):
            # Nearly all have nothing unsent and are not worth a second look. During a replay the
            # response writes, and `behind` is not kept.
            stalled = connection.stalled_since is not None
            asked = stalled or connection.behind or not connection.attached
            if asked and self._cut_if_stalled(connection, now):
                continue
            if connection.beat == slice_number and connection.attached:
                connection.send(frames.HEARTBEAT)

    def _cut_if_stalled(self, connection: Connection, now: float) -> bool:
        unsent = connection.unsent_bytes()
        progress = unsent == 0 or unsent < connection.unsent_seen
        connection.unsent_seen = unsent
        if progress:
            connection.stalled_since = None
        elif connection.stalled_since is None:
            connection.stalled_since = now
        elif connection.attached and unsent > self._buffer_bytes:
            # A flush looks before it writes; what the last one left is seen here, once the
            # client has taken nothing for two sweeps.
            self.cut(connection, Ending.SLOW)
        elif now - connection.stalled_since >= self._stall_seconds:
            self.cut(connection, Ending.STALLED)
        return connection.ended is not None

    def stats(self) -> dict[str, Any]:
        """Connections and replay cache of this instance, by company."""
        cached = {c.company_id: len(c.ring) for c in self._channels.single() if c.ring}
        return {
            "connections": {
                "totalConnections": len(self.open),
                "activeCompanies": len(self._open_by_company),
                "connectionsByCompany": dict(sorted(self._open_by_company.items())),
            },
            "replayCache": {
                "companies": len(cached),
                "totalEvents": sum(cached.values()),
                "eventsByCompany": dict(sorted(cached.items())),
            },
        }

    def channels(self) -> Iterator[Channel]:
        """All channels."""
        return iter(self._channels.all())

    def _make_channel(self, name: str, floor: int) -> Channel:
        return Channel(
            name,
            floor,
            self._pace_seconds,
            self._buffer_bytes,
            on_flush=self._metrics.delivered,
            on_slow=self._cut_slow,
        )

    def _cut_slow(self, slow: list[Connection]) -> None:
        for connection in slow:
            self.cut(connection, Ending.SLOW)
