"""uvicorn with this application: bounded request heads, and a stop that takes no more than 3 s."""

from __future__ import annotations

import asyncio
import socket

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from embedded.clickhouse.app import App

# Request line and headers together, as the real server's http_max_uri_size; uvicorn has no bound.
HEAD_BYTES = 1 << 20
# At a stop, requests may end by themselves for the first, and are killed until the second.
FINISH_SECONDS = 1.0
STOP_SECONDS = 3


class BoundedProtocol(HttpToolsProtocol):
    """Answers 400 to a request head that does not end."""

    _head_bytes: int | None = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_bytes is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self._head_bytes = None
            self.send_400_response(f"The request's head is longer than {HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        super().on_headers_complete()


class Server(uvicorn.Server):
    """Serves `app` on a listening socket until SIGTERM or SIGINT."""

    def __init__(self, app: App, listener: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                access_log=False,
                # A failed stream ends broken off, by protocol; uvicorn would log that as an error.
                log_level="critical",
                server_header=False,
                timeout_keep_alive=60,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self._app = app
        self._listener = listener

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self._listener.getsockname()[:2]
        print(f"ready http://{host}:{port}", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        killer = asyncio.create_task(self._kill_late_requests())
        await super().shutdown(sockets)
        killer.cancel()

    def serve_forever(self) -> None:
        """Returns after a stop signal."""
        self.run(sockets=[self._listener])

    async def _kill_late_requests(self) -> None:
        await asyncio.sleep(FINISH_SECONDS)
        await asyncio.gather(*(self._app.cancel(ticket) for ticket in self._app.running.all()))
