"""A network between browser and sidecar that collects streams, or swallows everything."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

Mode = Literal["pass", "collect", "swallow"]
STREAM = b"GET /stream/updates"


class Proxy:
    """A loopback relay in front of `target`; `mode` may be changed at any time.

    `collect` gives a stream's answer to the client only when the server has ended it, as a proxy
    does that buffers. `swallow` keeps every connection open and moves nothing: the cable is out.
    """

    def __init__(self, target: str, mode: Mode = "pass") -> None:
        self._target = urlsplit(target)
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.mode = mode
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers |= {writer, back}
        # Of one connection; it carries one request after another.
        is_stream = asyncio.Event()
        try:
            await asyncio.gather(
                self._ask(reader, back, is_stream), self._answer(there, writer, is_stream)
            )
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, back):
                one.transport.abort()

    async def _ask(
        self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, is_stream: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            if data.startswith(STREAM):
                is_stream.set()
            if self.mode != "swallow":
                back.write(data)
        back.transport.abort()

    async def _answer(
        self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, is_stream: asyncio.Event
    ) -> None:
        held = b""
        while data := await there.read(65536):
            if self.mode == "swallow":
                continue
            held += data
            if not (self.mode == "collect" and is_stream.is_set()):
                writer.write(held)
                held = b""
        writer.write(held)
        await writer.drain()
        writer.close()
