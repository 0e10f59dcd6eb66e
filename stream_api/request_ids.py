"""An id for every request: in its log lines, in its answer, and in whoever called us.

A caller's own id is kept, so that one id follows a request through a proxy and several services.
"""

from __future__ import annotations

import re
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config.logging import REQUEST_ID

HEADER: Final = "X-Request-Id"

# It is written to logs and headers: nothing that could be a second field or a second line.
_ACCEPTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/+-]{0,99}")


def request_id(given: str | None) -> str:
    """The caller's id when it can be kept, else a new one of 32 hexadecimal digits."""
    return given if given and _ACCEPTED.fullmatch(given) else uuid.uuid4().hex


class RequestIds:
    """Names each request. Plain ASGI: it wraps no body.

    The name stays set when the request is over. Each request is a task with a context of its own;
    the handler of unforeseen faults stands outside of this and still has to name it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = request_id(Headers(scope=scope).get(HEADER))
        REQUEST_ID.set(name)

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = name
            await send(message)

        await self._app(scope, receive, named)
