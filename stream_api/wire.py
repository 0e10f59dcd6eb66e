"""What a NATS server sends, cut into messages: the direct way past nats-py.

nats-py spends 60-80 us on a lone message (a task that wakes, two regular expressions, a queue, a
second task) and 5-6 us on one of many. A subscription with a `Reader` gets its messages out of the
transport's own callback instead, all those of one read at once, 1 us each. Everything else (INFO,
pings, answers of the API, other subscriptions) goes to nats-py byte for byte, and so do
authentication, TLS, reconnecting and publishing.

Source: the NATS client protocol; NATS ADR-4 for headers.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

MESSAGES = frozenset({b"MSG", b"HMSG"})
ACK_PREFIX = b"$JS.ACK."
# Cut in one turn of the event loop, about 1 ms of work with what the sink does with it.
TURN_BYTES = 32 * 1024

# Subject, reply subject and payload as they came over the wire.
WireMessage = tuple[bytes, bytes, bytes]


class Status(NamedTuple):
    """A message that is no JetStream delivery: heartbeat, flow control, end of a request.

    `code` and `description` are those of the first header line, empty when it has none.
    """

    subject: str
    reply: str
    code: str
    description: str
    headers: dict[str, str]


class Reader(Protocol):
    """Who reads a direct subscription. The two are called in the order of the wire.

    They must not raise: the connection would be cut.
    """

    def on_messages(self, messages: list[WireMessage]) -> None:
        """Take JetStream messages that one read has brought, at least one."""

    def on_status(self, status: Status) -> None:
        """Take anything else."""


class Cutter:
    """Gives the messages of `readers`, by subscription id, to them; returns what is for nats-py.

    What is not whole yet is held, and so is what is more than a turn's work: `more` says that
    there is something to go on with.
    """

    def __init__(self, readers: dict[bytes, Reader]) -> None:
        self._readers = readers
        self._held = bytearray()
        # So many bytes the held message has; 0 while its line is not whole.
        self._whole = 0
        self.more = False

    def feed(self, data: bytes) -> bytes:
        """Cut what is held and `data`, up to a turn's work."""
        if self._held:
            self._held += data
            if len(self._held) < self._whole:
                return b""
            data = bytes(self._held)
            self._held.clear()
        self._whole, self.more = 0, False
        others: list[bytes] = []
        found: list[WireMessage] = []
        reading: bytes | None = None
        at = 0
        while (line_end := data.find(b"\r\n", at)) >= 0:
            begin = stop = line_end + 2
            tokens = data[at:line_end].split(b" ")
            sid = None
            if tokens[0] in MESSAGES:
                sid = tokens[2]
                stop += int(tokens[-1]) + 2
                if stop > len(data):
                    self._whole = stop - at
                    break
            if at >= TURN_BYTES:
                self.more = True
                break
            if sid not in self._readers:
                others.append(data[at:stop])
            elif len(tokens) > 4 and tokens[3].startswith(ACK_PREFIX):
                # `MSG subject sid reply size`, or `HMSG` with the size of the headers before.
                if tokens[0] == b"HMSG":
                    begin += int(tokens[4])
                if sid != reading:
                    self._hand_over(reading, found)
                    reading, found = sid, []
                found.append((tokens[1], tokens[3], data[begin : stop - 2]))
            else:
                self._hand_over(reading, found)
                reading = None
                self._readers[sid].on_status(_status(tokens, data[begin:stop]))
            at = stop
        self._hand_over(reading, found)
        if at < len(data):
            self._held += data[at:]
        return b"".join(others) if others else b""

    def clear(self) -> None:
        """Forget what is held: the connection is gone."""
        self._held.clear()
        self.more = False

    def _hand_over(self, sid: bytes | None, found: list[WireMessage]) -> None:
        # A status may have made a reader leave.
        if sid in self._readers:
            self._readers[sid].on_messages(found)


def _status(tokens: list[bytes], body: bytes) -> Status:
    has_headers = tokens[0] == b"HMSG"
    reply = tokens[3].decode() if len(tokens) > (5 if has_headers else 4) else ""
    lines = body[: int(tokens[-2])].decode().split("\r\n") if has_headers else [""]
    _, code, description = [*lines[0].split(" ", 2), "", ""][:3]
    headers = {
        name: value.strip() for name, colon, value in (x.partition(":") for x in lines[1:]) if colon
    }
    return Status(tokens[1].decode(), reply, code, description, headers)


class DirectProtocol(asyncio.StreamReaderProtocol):
    """The stream protocol that nats-py reads from, behind a cutter."""

    def __init__(self, stream_reader: asyncio.StreamReader, readers: dict[bytes, Reader]) -> None:
        super().__init__(stream_reader)
        self._cutter = Cutter(readers)
        self._loop = asyncio.get_running_loop()
        self._going_on = False
        # Set by whoever made the connection, once there is one.
        self.transport: asyncio.Transport | None = None

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        others = self._cutter.feed(data)
        if others:
            super().data_received(others)
        if self._cutter.more and not self._going_on:
            # The rest of a large read waits for other work, and the server's next bytes for it.
            self._going_on = True
            if self.transport is not None:
                self.transport.pause_reading()
            self._loop.call_soon(self._go_on)

    def eof_received(self) -> bool | None:
        """Called by the event loop."""
        self._cutter.clear()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._cutter.clear()
        super().connection_lost(exc)

    def _go_on(self) -> None:
        self._going_on = False
        if self._cutter.more:
            self.data_received(b"")
        if not self._going_on and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
