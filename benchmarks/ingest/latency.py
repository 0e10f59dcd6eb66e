"""From a publish to being seen by a query, beside a rate of events."""

from __future__ import annotations

import asyncio
import json
import statistics
import threading
import time
from dataclasses import dataclass, field

import clickhouse_connect
import nats

from benchmarks.ingest.backlog import Figures
from benchmarks.ingest.world import DATABASE, SUBJECT, Publisher, World
from benchmarks.streaming.process import cpu_seconds
from tests.live.sidecar import SidecarProcess, open_stream

COMPANY = "probe"
PROBES_PER_SECOND = 20
POLL_SECONDS = 0.02
WARM_SECONDS = 3.0


def until_queryable(
    world: World, events_per_second: int, seconds: float, timeout_ms: int
) -> Figures:
    """p50 and p95 of publish → visible, over probes beside `events_per_second` of others.

    Visible: a query of the probe's company, with `final` as readers have it, returns it. Asked
    every 20 ms, which is in the figures.
    """
    with SidecarProcess(world.settings, CLICKHOUSE_BATCH_TIMEOUT_MS=str(timeout_ms)) as sidecar:
        load = Publisher(world.nats_port)
        loading = threading.Thread(
            target=load.at_rate, args=(events_per_second, WARM_SECONDS + seconds)
        )
        before, begin = cpu_seconds([sidecar.pid]), time.monotonic()
        loading.start()
        time.sleep(WARM_SECONDS)
        waits = asyncio.run(_probe(world, seconds, timeout_ms / 1000))
        loading.join()
        cpu = (cpu_seconds([sidecar.pid]) - before) / (time.monotonic() - begin)
        load.close()
        cuts = statistics.quantiles(waits, n=100)
        return {"p50_s": cuts[49], "p95_s": cuts[94], "max_s": max(waits), "sidecar_cpu": cpu}


async def _probe(world: World, seconds: float, timeout_seconds: float) -> list[float]:
    connection = await nats.connect(world.settings.nats_url.get_secret_value())
    client = await clickhouse_connect.get_async_client(
        host="127.0.0.1",
        port=world.settings.clickhouse_port,
        database=DATABASE,
        autogenerate_session_id=False,
    )
    count = round(seconds * PROBES_PER_SECOND)
    sent: list[float] = []
    seen: list[float] = []
    run = f"{COMPANY}-{time.time_ns()}"

    async def send() -> None:
        for n in range(count):
            data = json.dumps({"companyId": run, "n": n}).encode()
            sent.append(time.monotonic())
            await connection.publish(SUBJECT, data)
            await asyncio.sleep(1 / PROBES_PER_SECOND)

    sending = asyncio.create_task(send())
    async with asyncio.timeout(seconds + 3 * timeout_seconds + 30):
        while len(seen) < count:
            result = await client.query(
                "SELECT count() FROM events FINAL WHERE company_id = {c:String}", {"c": run}
            )
            # The stream keeps the order of one publisher, so the first are visible first.
            seen += [time.monotonic()] * (result.result_rows[0][0] - len(seen))
            await asyncio.sleep(POLL_SECONDS)
    await sending
    await connection.close()
    await client.close()
    return [b - a for a, b in zip(sent, seen, strict=True)]


@dataclass
class Delays:
    """Seconds from a publish to its frame at one client, and when it was published."""

    values: list[tuple[float, float]] = field(default_factory=list)


def live_beside_backlog(world: World, rows: int, events_per_second: int) -> Figures:
    """p50 and p99 in ms of publish → SSE client while the sink works off a backlog, and after."""
    sidecar = SidecarProcess(world.settings, STREAM_PACE_MS="0")
    load = Publisher(world.nats_port)
    load.fill(rows)
    sidecar.start()
    try:
        busy, idle = asyncio.run(_live(world, sidecar, events_per_second))
    finally:
        sidecar.stop()
        load.close()
    figures: Figures = {"events_while_busy": len(busy)}
    for name, values in (("busy", busy), ("idle", idle)):
        cuts = statistics.quantiles(values, n=100)
        figures |= {f"{name}_p50_ms": cuts[49] * 1000, f"{name}_p99_ms": cuts[98] * 1000}
    return figures


async def _live(
    world: World, sidecar: SidecarProcess, events_per_second: int
) -> tuple[list[float], list[float]]:
    """Delays while more than a batch is behind, and as many afterwards."""
    connection = await nats.connect(world.settings.nats_url.get_secret_value())
    js = connection.jetstream()
    busy: list[float] = []
    idle: list[float] = []
    behind = True

    async def send() -> None:
        while True:
            data = json.dumps({"companyId": COMPANY, "at": time.monotonic()}).encode()
            await connection.publish(SUBJECT, data)
            await asyncio.sleep(1 / events_per_second)

    async def watch() -> None:
        nonlocal behind
        while behind:
            info = await js.consumer_info("ANALYTICS_EVENTS", "clickhouse-sink")
            behind = (info.num_pending or 0) > 20_000
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)

    async with open_stream(sidecar.url, COMPANY) as stream:
        await stream.until_connected()
        sending = asyncio.create_task(send())
        watching = asyncio.create_task(watch())
        async with asyncio.timeout(120):
            while len(idle) < 5 * events_per_second:
                event = await stream.next()
                delay = time.monotonic() - json.loads(event.data)["at"]
                if behind:
                    busy.append(delay)
                elif watching.done():
                    idle.append(delay)
        sending.cancel()
    await connection.close()
    return busy, idle
