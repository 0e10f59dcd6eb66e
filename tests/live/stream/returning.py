"""A client that is cut again and again and comes back with its last id, as a browser does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

# A browser waits for what `retry:` says; a test has less time.
PAUSE_SECONDS = 0.05
LINE_BYTES = 1 << 20


class ReturningClient:
    """Reads until it has `count` events. `urls` is asked before each connection, one after another.

    `stays` says after how many events of a connection the client leaves by itself.
    """

    def __init__(
        self,
        urls: Callable[[], Sequence[str]],
        company: str,
        count: int,
        stays: Callable[[], int] | None = None,
        away_seconds: Callable[[], float] = lambda: PAUSE_SECONDS,
    ) -> None:
        self._urls = urls
        self._turns = itertools.count()
        self.company = company
        self._count = count
        self._stays = stays
        self._away_seconds = away_seconds
        self.live = asyncio.Event()
        self.last_id = ""
        self.ids: list[str] = []
        self.data: list[bytes] = []
        self.controls: list[str] = []
        self.connections = 0

    @property
    def resets(self) -> int:
        """How often the server could not honour the last id."""
        return self.controls.count("reset")

    async def run(self) -> None:
        """Connect until everything has arrived."""
        while len(self.ids) < self._count:
            urls = self._urls()
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._read(urls[next(self._turns) % len(urls)])
            await asyncio.sleep(self._away_seconds())

    async def _read(self, url: str) -> None:
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(
            address.hostname, address.port, limit=LINE_BYTES
        )
        try:
            query = f"companyId={self.company}&lastEventId={self.last_id}"
            writer.write(
                f"GET /stream/updates?{query} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
            )
            if not (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200"):
                return
            self.connections += 1
            leaves_at = len(self.ids) + self._stays() if self._stays else self._count
            while len(self.ids) < min(leaves_at, self._count):
                self._digest(await reader.readuntil(b"\n\n"))
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _digest(self, block: bytes) -> None:
        # The chunk framing in front of a block is no member of it.
        members = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
        name = members.get(b"event", b"").decode()
        if name in {"connected", "reset", "bye"}:
            self.controls.append(name)
            if name == "connected":
                self.live.set()
        elif b"id" in members:
            self.last_id = members[b"id"].decode()
            if b"data" in members:
                self.ids.append(self.last_id)
                self.data.append(members[b"data"])
