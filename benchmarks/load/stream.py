"""One user's stream: opened, read, timed, and opened again where it stopped."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import msgspec

# The server has answered with its `connected` by then, or the attempt has failed.
OPEN_SECONDS = 30.0
HEAD_END = b"\r\n\r\n"
BLOCK_END = b"\n\n"


class Load(msgspec.Struct):
    """Our own events: number within the company, and publish time in epoch microseconds."""

    n: int
    t: int


_decode = msgspec.json.Decoder(Load).decode


@dataclass
class Tally:
    """What all users together have seen. Latencies are seconds from publish to receive."""

    opened: int = 0
    errors: list[str] = field(default_factory=list)
    events: int = 0
    gaps: int = 0
    resets: int = 0
    resumed: int = 0
    latencies: list[float] = field(default_factory=list)


class User:
    """Keeps one stream open until it is cancelled; comes back by its last id as a browser does."""

    def __init__(self, host: str, port: int, company: str, tally: Tally) -> None:
        self._address = (host, port)
        self._company = company
        self._tally = tally
        self._last_id = ""
        self.last_n: int | None = None

    async def run(self) -> None:
        """Open, read to the end, and again at once: events of the time between are replayed."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(OPEN_SECONDS):
                    transport, stream = await loop.create_connection(
                        lambda: _Stream(self), *self._address
                    )
                    transport.write(self._request())
                    await stream.connected
            except (OSError, TimeoutError, ConnectionError) as error:
                self._tally.errors.append(str(error) or type(error).__name__)
                await asyncio.sleep(1)
                continue
            self._tally.opened += 1
            try:
                farewell = await stream.ended
            finally:
                transport.abort()
            if farewell:
                self._tally.resumed += 1
            else:
                self._tally.errors.append("the stream was cut without a farewell")

    def _request(self) -> bytes:
        resume = f"Last-Event-ID: {self._last_id}\r\n" if self._last_id else ""
        return (
            f"GET /stream/updates?companyId={self._company} HTTP/1.1\r\n"
            f"Host: {self._address[0]}\r\nAccept: text/event-stream\r\n{resume}\r\n"
        ).encode()

    def take(self, block: bytes) -> str:
        """One block of the stream: count and time it. Returns its event name."""
        name, data = "", b""
        for line in block.split(b"\n"):
            if line.startswith(b"event: "):
                name = line[7:].decode()
            elif line.startswith(b"data: "):
                data = line[6:]
            elif line.startswith(b"id: "):
                self._last_id = line[4:].decode()
        if name == "metric_updated":
            event = _decode(data)
            self._tally.latencies.append(time.time() - event.t / 1e6)
            self._tally.events += 1
            if self.last_n is not None and event.n != self.last_n + 1:
                self._tally.gaps += 1
            self.last_n = event.n
        elif name == "reset":
            self._tally.resets += 1
        return name


class _Stream(asyncio.Protocol):
    """HTTP/1.1 with chunks, as much of it as an event stream has."""

    def __init__(self, user: User) -> None:
        loop = asyncio.get_running_loop()
        self._user = user
        self._raw = b""
        self._text = b""
        self._in_body = False
        self._farewell = False
        self.connected: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[bool] = loop.create_future()

    def data_received(self, data: bytes) -> None:
        self._raw += data
        if not self._in_body and not self._read_head():
            return
        self._read_chunks()
        while (end := self._text.find(BLOCK_END)) >= 0:
            block, self._text = self._text[:end], self._text[end + 2 :]
            name = self._user.take(block)
            if name == "connected" and not self.connected.done():
                self.connected.set_result(None)
            elif name == "bye":
                self._farewell = True

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.connected.done():
            self.connected.set_exception(exc or ConnectionError("closed before it was live"))
        if not self.ended.done():
            self.ended.set_result(self._farewell)

    def _read_head(self) -> bool:
        end = self._raw.find(HEAD_END)
        if end < 0:
            return False
        status = self._raw.split(b" ", 2)[1]
        if status != b"200":
            if not self.connected.done():
                self.connected.set_exception(ConnectionError(f"answered {status.decode()}"))
            return False
        self._in_body, self._raw = True, self._raw[end + len(HEAD_END) :]
        return True

    def _read_chunks(self) -> None:
        while (end := self._raw.find(b"\r\n")) > 0:
            size = int(self._raw[:end], 16)
            stop = end + 2 + size
            if len(self._raw) < stop + 2:
                return
            self._text += self._raw[end + 2 : stop]
            self._raw = self._raw[stop + 2 :]
