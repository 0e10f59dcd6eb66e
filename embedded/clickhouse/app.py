"""The ASGI application: routes, admission, workers, clients that go away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from embedded.clickhouse.channel import Channel, ClientGoneError, Message, Receive, Send
from embedded.clickhouse.engine import Engine
from embedded.clickhouse.errors import ServerError, from_engine
from embedded.clickhouse.execution import Execution
from embedded.clickhouse.reply import Reply
from embedded.clickhouse.request import Request, parse_request
from embedded.clickhouse.running import WORKERS, Running, Ticket

log = logging.getLogger(__name__)

# KILL QUERY gets through when every worker is busy and the house is full.
KILL_WORKERS = 2
# A cancelled query is looked for again until it has ended: it may not have begun when first killed.
KILL_AGAIN_SECONDS = 0.1

NOT_FOUND = (
    "There is no handle {path}\n\nUse / or /ping for health checks.\n\n"
    "Send queries from your program with POST method or GET /?query=...\n"
)


class App:
    """Serves one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.running = Running()
        self._execution = Execution(engine, self.running)
        self._workers = ThreadPoolExecutor(WORKERS, "query")
        self._kill_workers = ThreadPoolExecutor(KILL_WORKERS, "kill")

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        if path in {"/ping", "/replicas_status"}:
            await _answer(send, 200, "Ok.\n")
        elif path != "/":
            await _answer(send, 404, NOT_FOUND.format(path=path))
        elif method == "GET" and not scope["query_string"]:
            await _answer(send, 200, "Ok.\n")
        elif method not in {"GET", "POST"}:
            await _answer(send, 501, f"Method {method} is not supported, use GET or POST.\n")
        else:
            await self._query(scope, receive, send)

    async def _query(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        channel = Channel(receive, send)
        reply = Reply(channel.send, "", self._engine.version, None)
        try:
            request = parse_request(scope["method"], scope["query_string"], headers)
            reply = Reply(
                channel.send, request.query_id, self._engine.version, request.response_encoding
            )
            first = await channel.peek()
            await self._run(request, channel, reply, request.text or first)
            messages = reply.last_messages
        except ServerError as error:
            reply.fail(error)
            messages = reply.last_messages
        except ClientGoneError:
            messages = None
        finally:
            reply.close()
        for message in messages or ():
            await send(message)

    async def _run(self, request: Request, channel: Channel, reply: Reply, first: bytes) -> None:
        is_kill = first.lstrip()[:4].upper() == b"KILL"
        ticket = self.running.admit(request.query_id, even_when_full=is_kill)
        workers = self._kill_workers if is_kill else self._workers
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(workers, self._work, request, ticket, channel, reply)
        # Not in a `finally` here: a stop may end this task before the thread has ended its query.
        work.add_done_callback(lambda _: self.running.leave(ticket))
        watch = asyncio.create_task(self._cancel_when_gone(ticket, channel))
        try:
            await asyncio.shield(work)
        finally:
            watch.cancel()

    def _work(self, request: Request, ticket: Ticket, channel: Channel, reply: Reply) -> None:
        try:
            if ticket.cancelled:
                return
            self._execution.run(request, ticket, channel, reply)
        except ClientGoneError:
            reply.last_messages = None
        except ServerError as error:
            self._fail(reply, error)
        except Exception as error:
            # One request's accident is that request's answer, and a line in the log.
            log.exception("request %s failed", ticket.query_id)
            self._fail(reply, from_engine(error))

    @staticmethod
    def _fail(reply: Reply, error: ServerError) -> None:
        with contextlib.suppress(ClientGoneError):
            reply.fail(error)

    async def _cancel_when_gone(self, ticket: Ticket, channel: Channel) -> None:
        await channel.wait_for_disconnect()
        await self.cancel(ticket)

    async def cancel(self, ticket: Ticket) -> None:
        """Stop a request's query; returns only by being cancelled, when the request has ended."""
        ticket.cancelled = True
        while True:
            with contextlib.suppress(ServerError):
                await asyncio.get_running_loop().run_in_executor(
                    self._kill_workers, self._engine.kill, ticket.mark
                )
            await asyncio.sleep(KILL_AGAIN_SECONDS)

    def idle(self) -> bool:
        """Whether no request is left."""
        return not self.running.all()


async def _answer(send: Send, status: int, text: str) -> None:
    body = text.encode()
    start: Message = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", b"text/html; charset=UTF-8"),
            (b"content-length", str(len(body)).encode()),
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})
