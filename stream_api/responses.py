"""The two ways an open stream is answered; the bytes that a client reads are the same.

On our uvicorn protocol the stream takes over the connection. Everywhere else, and for HTTP/1.0,
`sse-starlette` carries it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stream_api.connection import Connection, DirectConnection, Ending, QueuedConnection
from stream_api.hub import Hub
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
) -> tuple[Connection, Response]:
    """The connection and the response that carries it; the caller admits the connection."""
    protocol = (scope.get("extensions") or {}).get(EXTENSION, {}).get("protocol")
    if protocol is not None and scope["http_version"] == "1.1":
        direct = DirectConnection(company_id, types, protocol.transport)
        return direct, DirectStreamResponse(hub, replay, direct, resume, protocol)
    queued = QueuedConnection(company_id, types)
    response = EventSourceResponse(
        _queued_bytes(hub, replay, queued, resume),
        headers=HEADERS,
        ping=0,  # the hub sends the heartbeats of all streams
    )
    response.headers["Cache-Control"] = HEADERS["Cache-Control"]
    return queued, response


async def _queued_bytes(
    hub: Hub, replay: Replay, connection: QueuedConnection, resume: Resume
) -> AsyncIterator[bytes]:
    try:
        async for piece in replay.catch_up(connection, resume):
            yield piece
        while (data := await connection.next_bytes()) is not None:
            yield data
    finally:
        hub.release(connection, Ending.CLIENT_GONE)


class DirectStreamResponse(Response):
    """Writes the head and the replay, then leaves the connection to the hub and is over."""

    def __init__(
        self,
        hub: Hub,
        replay: Replay,
        connection: DirectConnection,
        resume: Resume,
        protocol: StreamingProtocol,
    ) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self.headers["content-type"] = f"{MEDIA_TYPE}; charset=utf-8"
        self._hub = hub
        self._replay = replay
        self._connection = connection
        self._resume = resume
        self._protocol = protocol

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection, transport = self._connection, self._protocol.transport
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for piece in self._replay.catch_up(connection, self._resume):
                # uvicorn's send waits while the socket's buffer is full, and says nothing when the
                # client has gone.
                await send(_body(piece))
                if transport.is_closing() or connection.ended is not None:
                    break
        except BaseException:
            self._gone(connection)
            raise
        self._protocol.take_over(connection, self._gone)
        if transport.is_closing():
            self._gone(connection)

    def _gone(self, connection: DirectConnection) -> None:
        self._hub.release(connection, Ending.CLIENT_GONE)


def _body(piece: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": piece, "more_body": True}
