"""A producer as any service is one: a plain NATS client that knows nothing of us."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from nats.aio.client import Client as Nats


class Producer:
    """Publishes as `nats pub` does: it knows nothing of us."""

    def __init__(self) -> None:
        self.nats = Nats()
        self.reconnected = asyncio.Event()

    async def on_reconnected(self) -> None:
        self.reconnected.set()

    async def publish(
        self, company: str = "test-company", subject: str = "metrics.calculated", **members: Any
    ) -> None:
        """Publish one flat event."""
        await self.raw(json.dumps({"companyId": company, **members}).encode(), subject)

    async def raw(self, data: bytes, subject: str = "metrics.calculated") -> None:
        """Publish any bytes."""
        await self.nats.publish(subject, data)

    async def numbers(self, start: int, stop: int, company: str = "test-company") -> None:
        """Publish events numbered `n` in [start, stop)."""
        for n in range(start, stop):
            await self.publish(company, n=n)
        await self.nats.flush()
