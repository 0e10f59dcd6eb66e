"""From a client's last id to live: everything after it, in order, with an exact seam.

`resolve` decides whether an id can be honoured. `catch_up` sends what lies between it and now, from
wherever it is, waiting for the socket, until the rest stands in the channel's ring; then, in one
step of the event loop, it writes that rest and makes the connection live. Nothing can be published
in between, so nothing is missed, doubled or out of order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from nats.errors import Error as NatsError

from events.event_id import EventId
from stream_api import frames
from stream_api.channel import Entry
from stream_api.connection import Connection, ResetReason
from stream_api.history import History, HistoryUnavailableError, Place
from stream_api.hub import Hub
from stream_api.telemetry import StreamMetrics

# The last piece before live is written without waiting for the socket, so it is bounded.
SEAM_BYTES = 64 * 1024
# An instance may be some messages behind the one that the client left.
REACH_TIMEOUT_SECONDS = 3.0
# An instance learns of a recreated stream by three missed heartbeats, and starts over.
LIFE_TIMEOUT_SECONDS = 5.0


REFUSALS = {
    Place.HERE: None,
    Place.OTHER_COMPANY: ResetReason.OTHER_COMPANY,
    Place.EXPIRED: ResetReason.EXPIRED,
    Place.UNKNOWN: ResetReason.UNKNOWN_ID,
}


class Resume(NamedTuple):
    """A client's resume point, or why it gets a `reset` instead.

    `life_ms` is the creation of the stream that the point was found in; it may be another one by
    the time that the replay begins.
    """

    point: EventId | None
    reset: ResetReason | None = None
    life_ms: int = 0


class Replay:
    """Brings connections from their resume point to live."""

    def __init__(
        self,
        hub: Hub,
        history: History,
        metrics: StreamMetrics,
        *,
        instance: str,
    ) -> None:
        self._hub = hub
        self._history = history
        self._metrics = metrics
        self._instance = instance

    async def resolve(self, company_id: str, last_id: str | None) -> Resume:
        """Decide on a client's last id; without one the client starts at now."""
        if not last_id:
            return Resume(None)
        wanted = EventId.parse(last_id)
        if wanted is None:
            return Resume(None, ResetReason.UNKNOWN_ID)
        if not self._in_ring(company_id, wanted):
            await self._hub.know_life_of(wanted, LIFE_TIMEOUT_SECONDS)
        life_ms = self._hub.stream_created_ms
        reset = await self._refusal(company_id, wanted)
        return Resume(wanted, None, life_ms) if reset is None else Resume(None, reset)

    async def _refusal(self, company_id: str, wanted: EventId) -> ResetReason | None:
        if wanted.ms < self._hub.stream_created_ms:
            return ResetReason.OTHER_STREAM
        if not await self._hub.reached(wanted.seq, REACH_TIMEOUT_SECONDS):
            return ResetReason.UNKNOWN_ID
        if self._in_ring(company_id, wanted):
            return None
        try:
            place = await self._history.find(company_id, wanted)
        except (HistoryUnavailableError, NatsError, TimeoutError):
            return ResetReason.HISTORY_UNAVAILABLE
        return REFUSALS[place]

    async def catch_up(self, connection: Connection, resume: Resume) -> AsyncIterator[bytes]:
        """Unframed bytes to send before live, in order; the connection is live when it ends.

        The caller sends each piece and waits for the socket before it asks for the next one. The
        last piece is written to the connection here.
        """
        if resume.reset is not None:
            yield frames.retry_frame() + await self._reset(connection, resume.reset)
        elif resume.point is not None:
            # A client that is cut during the replay must come back to the same point.
            yield frames.retry_frame() + frames.id_frame(str(resume.point))
            try:
                async for piece in self._pieces(connection, resume.point.seq, resume.life_ms):
                    yield piece
            except (HistoryUnavailableError, NatsError, TimeoutError):
                yield await self._reset(connection, ResetReason.HISTORY_UNAVAILABLE)
            else:
                if not connection.attached and connection.ended is None:
                    yield await self._reset(connection, ResetReason.OTHER_STREAM)
            if connection.attached:
                return
        self._go_live(connection, b"" if resume.point or resume.reset else frames.retry_frame())

    async def _pieces(
        self, connection: Connection, after: int, life_ms: int
    ) -> AsyncIterator[bytes]:
        channel = self._hub.channel(connection.company_id)

        def goes_on() -> bool:
            return self._hub.stream_created_ms == life_ms and connection.ended is None

        while goes_on():
            entries = channel.after(after)
            if entries is None:
                upto = channel.floor
                async for older in self._history.read(connection.company_id, after, upto, life_ms):
                    for part in bounded(older):
                        if not goes_on():
                            return
                        yield self._encode(connection, part)
                after = upto
                continue
            size = sum(len(entry.frame) for entry in entries)
            if size <= SEAM_BYTES:
                self._metrics.replayed("ring", len(entries))
                self._go_live(connection, self._encode(connection, entries))
                return
            entries = entries[: max(1, len(entries) * SEAM_BYTES // size)]
            self._metrics.replayed("ring", len(entries))
            yield self._encode(connection, entries)
            after = entries[-1].seq

    def _go_live(self, connection: Connection, before: bytes) -> None:
        """The seam: no `await` from the look into the ring up to here.

        A stream that was ended while it was catching up has had its farewell, and stays ended.
        """
        if connection.ended is not None:
            return
        connected: dict[str, Any] = {
            "companyId": connection.company_id,
            "instance": self._instance,
            "replayed": connection.replayed,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        connection.send(
            before
            + frames.id_frame(str(self._hub.position))
            + frames.control_frame("connected", connected)
        )
        connection.attached = True
        self._hub.channel(connection.company_id).attach(connection)

    def _encode(self, connection: Connection, entries: list[Entry]) -> bytes:
        wanted = [e for e in entries if connection.types is None or e.name in connection.types]
        connection.replayed += len(wanted)
        return b"".join(entry.frame for entry in wanted)

    async def _reset(self, connection: Connection, reason: ResetReason) -> bytes:
        self._metrics.reset(reason.value)
        try:
            oldest = await self._history.oldest(connection.company_id, self._hub.stream_created_ms)
        except (NatsError, TimeoutError):
            oldest = None
        return frames.control_frame("reset", {"reason": reason.value, "oldestAvailable": oldest})

    def _in_ring(self, company_id: str, wanted: EventId) -> bool:
        channel = self._hub.find_channel(company_id)
        if channel is None:
            return False
        if wanted.is_position:
            return wanted.seq >= channel.floor
        entries = channel.after(wanted.seq - 1)
        if not entries:
            return False
        return (entries[0].seq, entries[0].ms) == (wanted.seq, wanted.ms)


def bounded(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Parts of at most `SEAM_BYTES`, or of one entry: what waits for one client's socket."""
    part: list[Entry] = []
    size = 0
    for entry in entries:
        if part and size + len(entry.frame) > SEAM_BYTES:
            yield part
            part, size = [], 0
        part.append(entry)
        size += len(entry.frame)
    if part:
        yield part
