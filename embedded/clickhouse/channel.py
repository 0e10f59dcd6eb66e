"""Between the event loop, which owns the socket, and the worker thread that runs a request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, MutableMapping
from typing import Any, TypeVar

from embedded.clickhouse.encodings import Decoder

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
T = TypeVar("T")

# As the real server's http_receive_timeout and http_send_timeout are 30 s by default: a client that
# does not read or write for so long must not hold one of the few workers any longer.
IO_TIMEOUT_SECONDS = 60
READ_BYTES = 512 << 10  # one hand-over to the worker; uvicorn itself hands out 64 kB


class ClientGoneError(Exception):
    """The client closed the connection, or was silent for IO_TIMEOUT_SECONDS."""


class Channel:
    """One request's body and answer, for use by its worker thread."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        self._receive = receive
        self._send = send
        self._pending = b""
        self._more = True
        self.body_read = asyncio.Event()

    async def peek(self) -> bytes:
        """The first piece of the body as it came, kept for the reader. Called on the loop."""
        try:
            async with asyncio.timeout(IO_TIMEOUT_SECONDS):
                self._pending = await self._pull()
        except TimeoutError:
            raise ClientGoneError from None
        return self._pending

    def read(self, decoder: Decoder | None) -> Iterator[bytes]:
        """The body's unpacked pieces, each at most 1 MiB. Called once, on the worker thread.

        Raises ClientGoneError, and ServerError for a damaged body.
        """
        while self._pending or self._more:
            packed = self._pending or self._call(self._pull())
            self._pending = b""
            if decoder is None:
                yield packed
            else:
                yield from decoder.feed(packed)
        if decoder is not None:
            decoder.end()

    def send(self, message: Message) -> None:
        """Hand one ASGI message to the socket and wait until it has room for the next."""
        self._call(self._send(message))

    async def wait_for_disconnect(self) -> None:
        """Returns when the client closes the connection after its whole body was read."""
        await self.body_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _pull(self) -> bytes:
        pieces = []
        size = 0
        while self._more and size < READ_BYTES:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            self._more = message.get("more_body", False)
        if not self._more:
            self.body_read.set()
        return b"".join(pieces)

    def _call(self, work: Awaitable[T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(IO_TIMEOUT_SECONDS):
                return await work

        coroutine: Coroutine[Any, Any, T] = bounded()
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
        except TimeoutError:
            raise ClientGoneError from None
