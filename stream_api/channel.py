"""One company's channel: its recent events and the streams that are open for it.

An event is encoded once a company. The first one is written in the turn of the loop that read it;
what follows within the pace (16 ms, one display frame) goes out in one write, because the kernel's
send is most of the cost of a delivery.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from stream_api import frames
from stream_api.connection import Connection
from stream_api.group import Group

# Separates the companies in the name of a channel of several.
SEVERAL = ","
# A company's recent events in memory; older ones come from the warehouse and the stream.
RING_EVENTS = 2000
RING_BYTES = 1024 * 1024


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One event as it is sent: stream sequence, stream time in epoch ms, event name, SSE frame."""

    seq: int
    ms: int
    name: str
    frame: bytes


def companies_of(name: str) -> list[str]:
    """The companies whose events a channel of that name carries."""
    return name.split(SEVERAL)


class Channel:
    """Ring of recent entries and the live connections of one company.

    Every event of the company with a sequence above `floor` that has been published to this
    instance is in the ring. An admin's stream of several companies has a channel of its own, named
    by all of them: one order, one ring, one seam, as for a single company.
    """

    __slots__ = (
        "_buffer_bytes",
        "_frame",
        "_loop",
        "_on_flush",
        "_on_slow",
        "_pace",
        "_pending",
        "_ring_bytes",
        "_sent_at",
        "company_id",
        "floor",
        "groups",
        "ring",
    )

    def __init__(
        self,
        company_id: str,
        floor: int,
        pace_seconds: float,
        buffer_bytes: int,
        *,
        on_flush: Callable[[list[Entry], int], None],
        on_slow: Callable[[list[Connection]], None],
    ) -> None:
        self.company_id = company_id
        self.floor = floor
        self.ring: deque[Entry] = deque()
        # By event names and framing.
        self.groups: dict[tuple[frozenset[str] | None, bool], Group] = {}
        self._ring_bytes = 0
        self._pace = pace_seconds
        self._pending: list[Entry] = []
        self._frame: asyncio.TimerHandle | None = None
        self._sent_at = 0.0
        self._buffer_bytes = buffer_bytes
        self._on_flush = on_flush
        self._on_slow = on_slow
        self._loop = asyncio.get_running_loop()

    def connections(self) -> Iterator[Connection]:
        """All live connections, in a list of its own so that the caller may end some."""
        return iter([c for group in self.groups.values() for c in group])

    def publish(self, entry: Entry) -> bool:
        """Keep an entry for all live connections; true when it is due, and `flush` is to be called.

        Otherwise it goes out with what is due already, or with the next frame.
        """
        self.ring.append(entry)
        self._ring_bytes += len(entry.frame)
        while len(self.ring) > RING_EVENTS or self._ring_bytes > RING_BYTES:
            evicted = self.ring.popleft()
            self._ring_bytes -= len(evicted.frame)
            self.floor = evicted.seq
        if not self.groups:
            return False
        self._pending.append(entry)
        if len(self._pending) > 1:
            return False
        if self._pace:
            wait = self._sent_at + self._pace - time.monotonic()
            if wait > 0:
                self._frame = self._loop.call_later(wait, self.flush)
                return False
        return True

    def forget(self, floor: int) -> None:
        """Send what is pending, and start over with an empty ring above `floor`."""
        self.flush()
        self.ring.clear()
        self._ring_bytes = 0
        self.floor = floor

    def after(self, seq: int) -> list[Entry] | None:
        """Entries above `seq` in order; None when the ring does not reach back to `seq`."""
        if seq < self.floor:
            return None
        entries = []
        for entry in reversed(self.ring):
            if entry.seq <= seq:
                break
            entries.append(entry)
        entries.reverse()
        return entries

    def attach(self, connection: Connection) -> None:
        """Make a connection live: it gets exactly what is published from now on."""
        self.flush()  # what waits for the next frame is older than this connection
        self.groups.setdefault((connection.types, connection.framed), Group()).add(connection)

    def detach(self, connection: Connection) -> None:
        """Forget a connection that may be live here."""
        if connection.group is None:
            return
        connection.group.discard(connection)
        kind = (connection.types, connection.framed)
        if not self.groups[kind]:
            del self.groups[kind]

    def flush(self) -> None:
        """Write what is pending to every live connection, one write each.

        `on_flush` is told of the entries and the number of deliveries, `on_slow` of connections
        with too much unsent.
        """
        if self._frame is not None:
            self._frame.cancel()
            self._frame = None
        if not self._pending:
            return
        entries, self._pending = self._pending, []
        self._sent_at = time.monotonic()
        deliveries = 0
        slow: list[Connection] = []
        for (types, framed), group in self.groups.items():
            wanted = entries if types is None else [e for e in entries if e.name in types]
            if not wanted:
                continue
            data = wanted[0].frame if len(wanted) == 1 else b"".join([e.frame for e in wanted])
            if framed:
                data = frames.chunk(data)
            slow += group.write(data, self._buffer_bytes)
            deliveries += len(wanted) * len(group)
        self._on_flush(entries, deliveries)
        if slow:
            self._on_slow(slow)
