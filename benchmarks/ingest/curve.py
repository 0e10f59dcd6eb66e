"""What a row costs ClickHouse by the size of its batch, inserts as the sink makes them."""

from __future__ import annotations

import asyncio
import time

from benchmarks.ingest.backlog import Figures
from benchmarks.ingest.world import SUBJECT, World, events
from benchmarks.streaming.process import cpu_seconds
from events import rows
from events.accept import Event, accept
from events.rows import INSERT_SETTINGS
from stream_api.warehouse import Warehouse

IN_FLIGHT = 2


def inserts(world: World, batch_rows: int, total: int) -> Figures:
    """Rows a second and CPU a row of inserts into both tables, two batches at a time."""
    return asyncio.run(_inserts(world, batch_rows, total))


async def _inserts(world: World, batch_rows: int, total: int) -> Figures:
    warehouse = Warehouse(world.settings)
    payloads = events()
    now_ms = time.time_ns() // 1_000_000
    numbers = iter(range(0, total, batch_rows))
    clickhouse = [world.clickhouse.pid or 0]

    async def insert() -> None:
        for start in numbers:
            batch = [
                event
                for seq in range(start, start + batch_rows)
                if isinstance(
                    event := accept(SUBJECT, seq, now_ms, payloads[seq % len(payloads)]), Event
                )
            ]
            await asyncio.gather(
                warehouse.insert_json_rows("events", rows.encode_events(batch), **INSERT_SETTINGS),
                warehouse.insert_json_rows(
                    "metrics_timeseries", rows.encode_metrics(batch), **INSERT_SETTINGS
                ),
            )

    cpu, begin = cpu_seconds(clickhouse), time.monotonic()
    await asyncio.gather(*(insert() for _ in range(IN_FLIGHT)))
    lasted = time.monotonic() - begin
    await warehouse.close()
    return {
        "rows_per_second": total / lasted,
        "clickhouse_us": (cpu_seconds(clickhouse) - cpu) / total * 1e6,
    }
