"""The two ways an open stream is answered; the bytes that a client reads are the same.

On our uvicorn protocol the stream takes over the connection. Everywhere else, and for HTTP/1.0,
`sse-starlette` carries it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stream_api.connection import Connection, DirectConnection, Ending, QueuedConnection
from stream_api.hub import FAREWELL_SECONDS, Hub
from stream_api.replay import Replay, Resume
from stream_api.transport import EXTENSION, StreamingProtocol

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
MEDIA_TYPE = "text/event-stream"


def stream_response(
    scope: Scope,
    hub: Hub,
    replay: Replay,
    *,
    company_id: str,
    types: frozenset[str] | None,
    resume: Resume,
    once: bool = False,
) -> tuple[Connection, Response]:
    """The connection and the response that carries it; the caller admits the connection.

    With `once` the stream ends as soon as it is live: what was behind the last id, and `connected`.
    """
    protocol = (scope.get("extensions") or {}).get(EXTENSION, {}).get("protocol")
    if protocol is not None and scope["http_version"] == "1.1":
        direct = DirectConnection(company_id, types, protocol.transport)
        return direct, DirectStreamResponse(hub, replay, direct, resume, protocol, once)
    queued = QueuedConnection(company_id, types)
    return queued, QueuedStreamResponse(hub, replay, queued, resume, once)


class QueuedStreamResponse(EventSourceResponse):
    """`sse-starlette`'s response, which gives the connection back however it ends."""

    def __init__(
        self, hub: Hub, replay: Replay, connection: QueuedConnection, resume: Resume, once: bool
    ) -> None:
        super().__init__(
            self._bytes(replay, connection, resume, once),
            headers=HEADERS,
            ping=0,  # the hub sends the heartbeats of all streams
            # It watches for the server's stop by itself, and must leave time for the farewell.
            shutdown_grace_period=FAREWELL_SECONDS,
        )
        self._hub = hub
        self._connection = connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Not in the generator: of a client that has gone at once it is never started.
            self._hub.release(self._connection, Ending.CLIENT_GONE)

    async def _bytes(
        self, replay: Replay, connection: QueuedConnection, resume: Resume, once: bool
    ) -> AsyncIterator[bytes]:
        connection.task = asyncio.current_task()
        async for piece in replay.catch_up(connection, resume):
            connection.sending(len(piece))
            yield piece
        if once:
            self._hub.end(connection, Ending.POLLED)
        while (data := await connection.next_bytes()) is not None:
            yield data


class DirectStreamResponse(Response):
    """Writes the head and the replay, then leaves the connection to the hub and is over."""

    def __init__(
        self,
        hub: Hub,
        replay: Replay,
        connection: DirectConnection,
        resume: Resume,
        protocol: StreamingProtocol,
        once: bool,
    ) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self.headers["content-type"] = f"{MEDIA_TYPE}; charset=utf-8"
        self._hub = hub
        self._replay = replay
        self._connection = connection
        self._resume = resume
        self._protocol = protocol
        self._once = once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection, transport = self._connection, self._protocol.transport
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            self._protocol.bound_kernel_buffer()
            async for piece in self._replay.catch_up(connection, self._resume):
                # Nothing may follow a farewell.
                if connection.ended is not None:
                    break
                # uvicorn's send waits while the socket's buffer is full, and says nothing when the
                # client has gone.
                await send(_body(piece))
                if transport.is_closing():
                    break
        except BaseException:
            self._gone(connection)
            raise
        self._protocol.take_over(connection, self._gone)
        if transport.is_closing():
            self._gone(connection)
        elif self._once:
            self._hub.end(connection, Ending.POLLED)

    def _gone(self, connection: DirectConnection) -> None:
        self._hub.release(connection, Ending.CLIENT_GONE)


def _body(piece: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": piece, "more_body": True}
