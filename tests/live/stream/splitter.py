"""A network that parsers have to live with: it splits what the server sends, and breaks."""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

# Small enough to fall into every line end, chunk head and character of several bytes.
PIECES = (1, 2, 3, 1, 5, 7, 1, 11)
# What is longer than this goes on in larger pieces, so that 250 KiB don't take a second.
FINE_BYTES = 4096
COARSE_BYTES = 1500
_LAST_ID = re.compile(rb"\r\nlast-event-id: ([^\r]+)\r\n", re.IGNORECASE)


class Splitter:
    """A loopback relay in front of `target`; `last_ids` are the requests' headers, in order."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.last_ids: list[str] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._open:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        except ConnectionError:
            writer.transport.abort()
            return
        for one in (writer, back):
            self._open.add(one)
            one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.gather(self._ask(reader, back), self._answer(there, writer))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, back):
                self._open.discard(one)
                one.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.last_ids += [found.decode() for found in _LAST_ID.findall(data)]
            back.write(data)
        back.transport.abort()

    async def _answer(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sizes = itertools.cycle(PIECES)
        while data := await there.read(65536):
            start = 0
            while start < len(data):
                size = next(sizes) if start < FINE_BYTES else COARSE_BYTES
                writer.write(data[start : start + size])
                await writer.drain()
                # The loop turns, so each piece is a segment of its own.
                await asyncio.sleep(0)
                start += size
        writer.transport.abort()
