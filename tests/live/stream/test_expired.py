"""Resume points that have left the stream: from ClickHouse as long as it has them, else a reset."""

from __future__ import annotations

import asyncio
import json

from clickhouse_connect.driver.client import Client

from config.names import EVENTS_STREAM
from stream_api.connection import ResetReason
from stream_api.replay import LIFE_TIMEOUT_SECONDS
from tests.live.api import samples
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess, open_stream, until_read
from tests.live.waiting import until, until_acknowledged, until_in_stream

COMPANY = "c"


async def resume(url: str, last_id: str) -> tuple[list[int], tuple[str, str | None] | None]:
    """Numbers of the replayed events, and the reset's reason and `oldestAvailable` if one came."""
    async with open_stream(url, COMPANY, last_id=last_id) as stream:
        before, _ = await stream.until_connected()
    said = [json.loads(one.data) for one in before]
    if before and before[0].event == "reset":
        assert len(before) == 1
        return [], (said[0]["reason"], said[0]["oldestAvailable"])
    return [one["n"] for one in said], None


async def test_ids_older_than_the_stream(
    sidecar: SidecarProcess, producer: Producer, ch: Client
) -> None:
    async with open_stream(sidecar.url, COMPANY) as stream:
        await stream.until_connected()
        await producer.numbers(0, 1, COMPANY)
        first = (await stream.next()).id
        async with open_stream(sidecar.url, COMPANY) as second:
            await second.until_connected()
            position = second.last_id
        await producer.numbers(1, 3, COMPANY)
        await stream.take(2)
    await until_acknowledged(producer.nats.jetstream(), 3)
    # Neither the stream nor the memory of an instance has them any more.
    await asyncio.to_thread(sidecar.stop)
    await producer.nats.jetstream().purge_stream(EVENTS_STREAM)
    await producer.numbers(0, 1, "another-company")
    await asyncio.to_thread(sidecar.start)
    await until_acknowledged(producer.nats.jetstream(), 4)

    assert await resume(sidecar.url, first) == ([1, 2], None)
    assert await resume(sidecar.url, position) == ([1, 2], None)
    replayed = await asyncio.to_thread(
        samples, sidecar.url, "analytics_stream_replayed_events_total"
    )
    assert replayed == {"clickhouse": 4}

    ch.command("RENAME TABLE events TO away")
    unavailable = ResetReason.HISTORY_UNAVAILABLE.value
    _, reset = await resume(sidecar.url, first)
    assert reset is not None
    # Without ClickHouse the beginning of the stream is the oldest point.
    assert (reset[0], str(reset[1]).rpartition("-")[0]) == (unavailable, "position-3")
    ch.command("RENAME TABLE away TO events")
    assert await resume(sidecar.url, first) == ([1, 2], None)

    # What nobody has: gone from ClickHouse too, by its retention say.
    ch.command("TRUNCATE TABLE events")
    expired = ResetReason.EXPIRED.value
    assert await resume(sidecar.url, first) == ([], (expired, reset[1]))
    assert await resume(sidecar.url, position) == ([], (expired, reset[1]))
    await producer.numbers(3, 5, COMPANY)
    await until(
        lambda: ch.query("SELECT event_id FROM events ORDER BY stream_seq").result_columns,
        lambda columns: bool(columns) and len(columns[0]) == 2,
    )
    oldest = str(ch.query("SELECT event_id FROM events ORDER BY stream_seq").first_item["event_id"])
    assert await resume(sidecar.url, first) == ([], (expired, oldest))
    # The named one is honoured.
    assert await resume(sidecar.url, oldest) == ([4], None)
    resets = await asyncio.to_thread(samples, sidecar.url, "analytics_stream_resets_total")
    assert resets == {expired: 3, unavailable: 1}


async def test_resuming_on_an_instance_that_found_the_stream_empty_does_not_wait(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    async with open_stream(sidecar.url, COMPANY) as stream:
        await stream.until_connected()
        await producer.numbers(0, 2, COMPANY)
        first, last = [one.id for one in await stream.take(2)]
    await until_acknowledged(producer.nats.jetstream(), 2)
    await asyncio.to_thread(sidecar.stop)
    await producer.nats.jetstream().purge_stream(EVENTS_STREAM)
    await asyncio.to_thread(sidecar.start)
    # Each of the two would wait for it.
    async with asyncio.timeout(1.8 * LIFE_TIMEOUT_SECONDS):
        assert await resume(sidecar.url, first) == ([1], None)
        assert await resume(sidecar.url, last) == ([], None)
    await producer.numbers(2, 3, COMPANY)
    await until_read(sidecar.url, 3)
    assert await resume(sidecar.url, last) == ([2], None)


async def test_what_nobody_stored_before_it_left_the_stream_is_no_silent_gap(
    sidecar: SidecarProcess, producer: Producer, ch: Client
) -> None:
    async with open_stream(sidecar.url, COMPANY) as stream:
        await stream.until_connected()
        await producer.numbers(0, 3, COMPANY)
        first, _, last = [one.id for one in await stream.take(3)]
    await until_acknowledged(producer.nats.jetstream(), 3)
    floors = "SELECT count() FROM processing_checkpoints WHERE name = 'sink floor'"
    await until(lambda: ch.query(floors).result_rows, lambda rows: rows == [(1,)])
    await asyncio.to_thread(sidecar.stop)
    # Nobody stores them, for as long as the stream keeps them.
    await producer.numbers(3, 6, COMPANY)
    await until_in_stream(producer.nats.jetstream(), 6)
    await producer.nats.jetstream().purge_stream(EVENTS_STREAM)
    await producer.numbers(6, 8, COMPANY)
    await asyncio.to_thread(sidecar.start)
    await until_acknowledged(producer.nats.jetstream(), 8)
    for lost in (first, last):
        replayed, reset = await resume(sidecar.url, lost)
        assert (replayed, reset and reset[0]) == ([], ResetReason.HISTORY_UNAVAILABLE.value)
    assert reset is not None
    assert reset[1] is not None
    # Behind the gap everything is as usual, and another instance knows of it.
    assert await resume(sidecar.url, reset[1]) == ([7], None)
    await asyncio.to_thread(sidecar.stop)
    await producer.nats.jetstream().purge_stream(EVENTS_STREAM)
    await producer.numbers(0, 1, "another-company")
    await asyncio.to_thread(sidecar.start)
    assert await resume(sidecar.url, reset[1]) == ([7], None)
    assert (await resume(sidecar.url, last))[1] == reset
