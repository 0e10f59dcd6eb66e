"""A sidecar and a producer for the tests of streaming, ingestion and the cohort API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from config.settings import Settings
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess


@pytest.fixture
def sidecar(settings: Settings) -> Iterator[SidecarProcess]:
    """A running sidecar on the test's own services; its sink stores twice a second."""
    with SidecarProcess(settings, CLICKHOUSE_BATCH_TIMEOUT_MS="500") as process:
        yield process


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
