"""One open stream's way to its client, in two kinds that the hub treats alike.

`DirectConnection` has the socket and its transport: the request that opened it is over, and nothing
else is kept in memory for it. `QueuedConnection` hands the bytes to a
response that any ASGI server can carry.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from config.logging import REQUEST_ID
from stream_api import frames

if TYPE_CHECKING:
    from stream_api.group import Group

# What one send of a queued stream carries, so that the server's own buffer stays small.
PIECE_BYTES = 64 * 1024


class Ending(StrEnum):
    """Why a stream ended; a closed list, each counted."""

    CLIENT_GONE = "client_gone"
    SLOW = "slow"
    STALLED = "stalled"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a reason, not a secret
    DRAIN = "drain"
    LIFETIME = "lifetime"
    SWITCHED_OFF = "switched_off"
    POLLED = "polled"


class ResetReason(StrEnum):
    """Why a resume point can't be honoured; a closed list, each counted."""

    UNKNOWN_ID = "unknown_id"
    OTHER_STREAM = "other_stream"
    OTHER_COMPANY = "other_company"
    EXPIRED = "expired"
    HISTORY_UNAVAILABLE = "history_unavailable"


class Connection:
    """What the hub needs of a stream. `types` are event names, None for all of them.

    `company_id` names one company, or an admin's several joined by commas.
    """

    __slots__ = (
        "attached",
        "beat",
        "behind",
        "company_id",
        "ended",
        "expiry",
        "group",
        "replayed",
        "request_id",
        "socket",
        "stalled_since",
        "types",
        "unsent_seen",
    )

    # True when bytes must arrive already framed as HTTP chunks.
    framed = False

    def __init__(self, company_id: str, types: frozenset[str] | None) -> None:
        self.company_id = company_id
        self.types = types
        # The request is over long before its stream, and whoever ends that has another's or none.
        self.request_id = REQUEST_ID.get()
        self.ended: Ending | None = None
        self.replayed = 0
        self.attached = False
        # The streams that it is written to with, while it is live.
        self.group: Group | None = None
        # The number of a socket that nobody else writes to; None when there is no such.
        self.socket: int | None = None
        # Whether a write has left bytes over; only then `unsent_bytes` is worth the question.
        self.behind = False
        # Which of the hub's slices of a heartbeat period this stream gets its heartbeat in.
        self.beat = 0
        self.stalled_since: float | None = None
        self.unsent_seen = 0
        self.expiry: asyncio.TimerHandle | None = None

    def write(self, data: bytes) -> None:
        """Queue bytes for the client; never waits. Framed bytes for a framed connection."""
        raise NotImplementedError

    def unsent_bytes(self) -> int:
        """Bytes that were written and that nobody further down is known to have taken yet."""
        raise NotImplementedError

    def finish(self, farewell: bytes) -> None:
        """Send a last (unframed) frame and end the response in good order."""
        raise NotImplementedError

    def abort(self) -> None:
        """Cut the connection; what is unsent is thrown away."""
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        """Write unframed bytes to this one client."""
        self.write(frames.chunk(data) if self.framed else data)


class DirectConnection(Connection):
    """Writes to the server's transport. Costs no task, no queue and no wake-up a delivery.

    Once its request is over, its group writes to the socket itself while nothing is unsent.
    """

    __slots__ = ("_transport",)

    framed = True

    def __init__(
        self, company_id: str, types: frozenset[str] | None, transport: asyncio.Transport
    ) -> None:
        super().__init__(company_id, types)
        self._transport = transport

    def own_socket(self, number: int) -> None:
        """Nobody else writes to the socket from now on."""
        self.socket = number
        if self.group is not None:
            self.group.free(self)

    def lose_socket(self) -> None:
        """The socket is about to be closed."""
        if self.group is not None:
            self.group.hold(self)
        self.socket = None

    def fall_behind(self) -> None:
        """A write has left bytes over."""
        self.behind = True
        if self.group is not None:
            self.group.hold(self)

    def catch_up(self) -> None:
        """They have gone."""
        self.behind = False
        if self.group is not None:
            self.group.free(self)

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    def finish(self, farewell: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(frames.chunk(farewell) + frames.LAST_CHUNK)
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()


class QueuedConnection(Connection):
    """Keeps the bytes until the response's generator takes them with `next_bytes`."""

    __slots__ = ("_closed", "_queue", "_sending", "_unsent", "_wakeup", "task")

    def __init__(self, company_id: str, types: frozenset[str] | None) -> None:
        super().__init__(company_id, types)
        # Bounded by the hub: it aborts a connection whose unsent bytes exceed the limit.
        self._queue: deque[bytes] = deque()
        self._unsent = 0
        self._sending = 0
        self._closed = False
        self._wakeup = asyncio.Event()
        # The task that sends; cancelled to cut a client that takes nothing.
        self.task: asyncio.Task[Any] | None = None

    def write(self, data: bytes) -> None:
        self._queue.append(data)
        self._unsent += len(data)
        self.behind = True
        self._wakeup.set()

    def unsent_bytes(self) -> int:
        return self._unsent

    def finish(self, farewell: bytes) -> None:
        self.write(farewell)
        self._closed = True

    def abort(self) -> None:
        self._queue.clear()
        self._closed = True
        self._wakeup.set()
        if self.task is not None:
            self.task.cancel()

    def sending(self, count: int) -> None:
        """`count` bytes that were never queued are on their way; those before have been taken."""
        self._unsent += count - self._sending
        self._sending = count
        self.behind = self._unsent > 0

    async def next_bytes(self) -> bytes | None:
        """Bytes written so far, at most about 64 KiB; None when the stream has ended.

        What was returned counts as unsent until the next call: the server has taken it by then.
        """
        self.sending(0)
        while not self._queue:
            if self._closed:
                return None
            self._wakeup.clear()
            await self._wakeup.wait()
        pieces = []
        while self._queue and self._sending < PIECE_BYTES:
            pieces.append(self._queue.popleft())
            self._sending += len(pieces[-1])
        return b"".join(pieces)
