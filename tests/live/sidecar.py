"""A real sidecar process, and clients for it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import httpx
from httpx_sse import EventSource, ServerSentEvent, aconnect_sse

from config.settings import Settings
from events.event_id import EventId
from tests.live.forked import PRELOADED, Forked
from tests.live.system import REPOSITORY
from tests.live.waiting import POLL_SECONDS

READY_SECONDS = 90
_LISTENING = re.compile(r"listening on (http://\S+)")


def environment(settings: Settings, **extra: str) -> dict[str, str]:
    """The process environment that `settings` describe; only what differs from the default."""
    values = {}
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if value != field.default and value is not None:
            text = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
            values[name.upper()] = text
    kept = {k: v for k, v in os.environ.items() if k.upper() not in values}
    return {**kept, **values, **extra}


PORTABLE = "tests.live.portable_sidecar"
PATCHED = "tests.live.patched_sidecar"


class SidecarProcess:
    """`python -m stream_api` on a free port, forked. Everything that it logs is kept in `log`.

    `module` is another way to start one: `PORTABLE`, or `PATCHED` with its variable PATCHES. As a
    context it runs from the beginning of the block to its end.
    """

    def __init__(self, settings: Settings, module: str = PRELOADED, **extra: str) -> None:
        self._module = module
        self._environment = environment(settings, **extra)
        self.log: list[str] = []
        self._heard = threading.Condition()
        self._process: subprocess.Popen[str] | Forked | None = None
        self.url = ""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *, wait_ready: bool = True) -> None:
        """Start; on the same port as before when it ran already."""
        if self._module == PRELOADED:
            self._process = Forked(self._environment)
        else:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module],
                env=self._environment,
                cwd=REPOSITORY,
                stderr=subprocess.PIPE,
                text=True,
            )
        self.log.clear()
        threading.Thread(target=self._read_log, args=(self._process,), daemon=True).start()
        line = self.wait_for_log(_LISTENING)
        self.url = line.group(1)
        # A restart of this object comes back at the address that clients know.
        self._environment["PORT_ANALYTICS"] = self.url.rpartition(":")[2]
        if wait_ready:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Poll `/health/ready` until it says yes."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            answer = httpx.get(f"{self.url}/health/ready")
            if answer.status_code == 200:
                return
            assert time.monotonic() < deadline, f"not ready: {answer.text}\n{self.text}"
            time.sleep(0.02)

    def wait_for_log(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """The first log line that matches, once it is there."""
        deadline = time.monotonic() + READY_SECONDS
        with self._heard:
            while True:
                for line in self.log:
                    if match := pattern.search(line):
                        return match
                assert self._process is not None
                ended = self._process.poll()
                assert ended is None, f"ended with {ended}\n{self.text}"
                left = deadline - time.monotonic()
                assert left > 0, f"no line {pattern.pattern}\n{self.text}"
                self._heard.wait(min(left, 0.5))

    @property
    def text(self) -> str:
        """The log so far."""
        return "\n".join(self.log)

    def wait(self) -> int:
        """Wait until it ends by itself; the exit status."""
        assert self._process is not None
        return self._process.wait(timeout=60)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and wait; the exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(how)
        status = self._process.wait(timeout=60)
        self._process = None
        return status

    def _read_log(self, process: subprocess.Popen[str] | Forked) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            with self._heard:
                self.log.append(line.rstrip("\n"))
                self._heard.notify_all()


class StreamReader:
    """Reads one SSE stream by httpx-sse, with the position that a browser would keep."""

    def __init__(self, source: EventSource) -> None:
        self.response = source.response
        self._events = source.aiter_sse()
        self.last_id = ""

    async def next(self) -> ServerSentEvent:
        """The next event that a browser would dispatch; keeps the last id as a browser does."""
        while True:
            event = await anext(self._events)
            # The parser reports the last id with every event; blocks without data dispatch nothing.
            self.last_id = event.id or self.last_id
            if event.data:
                return event

    async def take(self, count: int) -> list[ServerSentEvent]:
        """The next `count` events."""
        return [await self.next() for _ in range(count)]

    async def until_connected(self) -> tuple[list[ServerSentEvent], ServerSentEvent]:
        """What was replayed (or a reset), and the `connected` event."""
        before = []
        while (event := await self.next()).event != "connected":
            before.append(event)
        return before, event


@asynccontextmanager
async def open_stream(
    url: str, company: str = "test-company", last_id: str | None = None, **parameters: str
) -> AsyncIterator[StreamReader]:
    """Open `/stream/updates` of a company."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with (
        httpx.AsyncClient(timeout=30) as client,
        aconnect_sse(
            client,
            "GET",
            f"{url}/stream/updates",
            params={"companyId": company, **parameters},
            headers=headers,
        ) as source,
    ):
        yield StreamReader(source)


async def until_read(url: str, seq: int) -> None:
    """Wait until the sidecar has read the stream up to `seq`: it can replay it all from now on.

    A flushed publish has reached the server, not every reader of the stream.
    """
    async with asyncio.timeout(READY_SECONDS):
        while True:
            async with open_stream(url) as stream:
                await stream.until_connected()
                position = EventId.parse(stream.last_id)
            if position is not None and position.seq >= seq:
                return
            await asyncio.sleep(POLL_SECONDS)
