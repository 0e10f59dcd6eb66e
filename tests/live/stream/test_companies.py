"""An admin's stream of several companies: one order, live and out of every place of the replay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from config.settings import Settings
from tests.live.api import get
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess, open_stream
from tests.live.waiting import until, until_acknowledged

COMPANIES = ("a", "b", "c")


async def publish(producer: Producer, start: int, stop: int) -> None:
    """Numbered events of the companies in turn."""
    for n in range(start, stop):
        await producer.publish(COMPANIES[n % 3], n=n)
    await producer.nats.flush()


def of(start: int, stop: int, companies: str) -> list[int]:
    return [n for n in range(start, stop) if COMPANIES[n % 3] in companies]


@pytest.fixture
def sidecar(settings: Settings) -> Iterator[SidecarProcess]:
    """Its sink stores 300 events at once, and fewer only at its end."""
    with SidecarProcess(
        settings, CLICKHOUSE_BATCH_SIZE="300", CLICKHOUSE_BATCH_TIMEOUT_MS="600000"
    ) as process:
        yield process


async def test_events_of_several_companies_come_in_the_streams_order(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    async with open_stream(sidecar.url, "b,a,b") as stream, open_stream(sidecar.url, "c") as other:
        _, connected = await stream.until_connected()
        assert json.loads(connected.data)["companyId"] == "a,b"
        await other.until_connected()
        position = stream.last_id
        await publish(producer, 0, 300)
        live = await stream.take(200)
        assert [json.loads(e.data)["n"] for e in live] == of(0, 300, "ab")
        assert [json.loads(e.data)["n"] for e in await other.take(100)] == of(0, 300, "c")

        async def replayed(last_id: str, companies: str) -> list[int]:
            async with open_stream(sidecar.url, companies, last_id=last_id) as again:
                events, _ = await again.until_connected()
            assert {e.event for e in events} <= {"metric_updated"}
            return [json.loads(e.data)["n"] for e in events]

        # The channel of this stream has them all in memory.
        assert await replayed(live[0].id, "a,b") == of(1, 300, "ab")
        # Other lists have new channels: theirs come from the warehouse, and from the stream.
        await until_acknowledged(producer.nats.jetstream(), 300)
        await publish(producer, 300, 330)
        await until(
            partial(get, f"{sidecar.url}/stream/stats"),
            lambda stats: stats["replayCache"]["totalEvents"] == 330,
        )
        assert await replayed(position, "a,c") == of(0, 330, "ac")
        assert await replayed(live[0].id, "a,b,c") == of(1, 330, "abc")
        # An id of a company that is not in the list is no place in this stream.
        async with open_stream(sidecar.url, "b,c", last_id=live[0].id) as stranger:
            before, _ = await stranger.until_connected()
        assert [json.loads(e.data)["reason"] for e in before] == ["other_company"]
        stats = (await asyncio.to_thread(httpx.get, f"{sidecar.url}/stream/stats")).json()
    assert stats["connections"]["connectionsByCompany"] == {"a": 1, "b": 1, "c": 1}
    assert stats["connections"]["totalConnections"] == 2
    assert set(stats["replayCache"]["eventsByCompany"]) == set(COMPANIES)
    metrics = (await asyncio.to_thread(httpx.get, f"{sidecar.url}/metrics")).text
    for source in ("ring", "clickhouse", "jetstream"):
        series = f'analytics_stream_replayed_events_total{{source="{source}"}}'
        assert f"{series} " in metrics
        assert f"{series} 0.0" not in metrics
