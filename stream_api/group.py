"""Live streams that are sent the very same bytes, and the shortest way to send them.

A stream that has its socket for itself, with nothing unsent, is written to by the socket's number:
one system call, past its transport and without a look at its objects, which an event of a small
company finds out of the processor's caches. All other streams, and what a socket does not take, go
the way of `Connection.write`.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator

from stream_api.connection import Connection


class Group:
    """Streams of one channel, of one set of event names and one framing."""

    __slots__ = ("_by_socket", "_others", "_sockets")

    def __init__(self) -> None:
        self._by_socket: dict[int, Connection] = {}
        # Its keys once more, side by side in memory.
        self._sockets: array[int] = array("i")
        self._others: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._sockets) + len(self._others)

    def __iter__(self) -> Iterator[Connection]:
        """All streams, in a list of its own so that the caller may end some."""
        return iter([*self._by_socket.values(), *self._others])

    def add(self, connection: Connection) -> None:
        """Take a stream in; it tells from now on when `free` or `hold` is due."""
        self._others.add(connection)
        connection.group = self
        self.free(connection)

    def discard(self, connection: Connection) -> None:
        """Let a stream of this group go."""
        self.hold(connection)
        self._others.discard(connection)
        connection.group = None

    def free(self, connection: Connection) -> None:
        """Write to the stream's socket, if it has one for itself and nothing is unsent."""
        number = connection.socket
        if number is None or connection.behind or number in self._by_socket:
            return
        if connection in self._others:
            self._others.remove(connection)
            self._by_socket[number] = connection
            self._sockets.append(number)

    def hold(self, connection: Connection) -> None:
        """Write through the stream's transport; before the socket is closed, too.

        The number of a closed socket may be another company's client a moment later.
        """
        number = connection.socket
        if number is not None and self._by_socket.get(number) is connection:
            self._sockets.remove(number)
            del self._by_socket[number]
            self._others.add(connection)

    def write(self, data: bytes, limit: int) -> list[Connection]:
        """Write to every stream but those with more than `limit` bytes unsent; returns these.

        What was unsent before this write decides, so that one large event never cuts a reader that
        keeps up.
        """
        size = len(data)
        short: list[tuple[int, int]] = []
        for number in self._sockets:
            try:
                taken = os.write(number, data)
            except OSError:  # full, or gone, which the transport finds out
                taken = 0
            if taken != size:
                short.append((number, taken))
        slow = []
        for connection in self._others:
            if connection.behind and connection.unsent_bytes() > limit:
                slow.append(connection)
            else:
                connection.write(data)
        for number, taken in short:
            self._by_socket[number].write(data[taken:])
        return slow
