"""A sidecar and a producer for the tests of the streaming half."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from nats.aio.client import Client as Nats

from config.settings import Settings
from tests.live.sidecar import SidecarProcess


@pytest.fixture
def sidecar(settings: Settings) -> Iterator[SidecarProcess]:
    """A running sidecar on the test's own services."""
    process = SidecarProcess(settings, CLICKHOUSE_ENABLED="false")
    process.start()
    try:
        yield process
    finally:
        process.stop()


@pytest.fixture
async def producer(nats_url: str) -> AsyncIterator[Producer]:
    """A plain NATS client, as any producer has one."""
    producer = Producer()
    await producer.nats.connect(
        nats_url, reconnect_time_wait=0, reconnected_cb=producer.on_reconnected
    )
    try:
        yield producer
    finally:
        await producer.nats.close()


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
