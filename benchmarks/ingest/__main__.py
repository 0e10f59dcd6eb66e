"""`python -m benchmarks.ingest [scenario…]`: measure, and print medians.

Scenarios: `compare` (a backlog, stored by us and by what a user would write), `batches` (ClickHouse
alone by size of batch), `latency` (publish to visible), `live` (streams beside a backlog), `long`
(5 million events: memory).
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import Callable

import nats

from benchmarks.ingest import backlog, curve, latency
from benchmarks.ingest.backlog import Figures
from benchmarks.ingest.world import Publisher, World, world
from stream_api.streams import ensure_streams

COMPARED_ROWS = {"sidecar": 600_000, "naive": 60_000}
BATCHES = (1000, 5000, 20_000, 50_000)
CURVE_ROWS = 200_000
LONG_ROWS = 5_000_000
RATE = 5000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS], metavar="scenario")
    parser.add_argument("--runs", type=int, default=3, help="rounds; medians are printed")
    options = parser.parse_args()
    for name in options.scenarios or SCENARIOS:
        runs = 1 if name == "long" else options.runs
        rounds = [SCENARIOS[name]() for _ in range(runs)]
        for label in rounds[0]:
            show(f"{name} {label}", [figures[label] for figures in rounds])


def show(label: str, rounds: list[Figures]) -> None:
    """A line of medians."""
    medians = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    print(f"{label:<26}" + "  ".join(f"{k}={v:.5g}" for k, v in medians.items()), flush=True)


def store(rows: int, consumer: str, **settings: str) -> Figures:
    """A backlog of so many rows in a fresh world."""
    with world() as servers:
        fill(servers, rows)
        return backlog.measure(servers, rows, consumer, **settings)


def fill(servers: World, rows: int) -> None:
    asyncio.run(_make_streams(servers))
    publisher = Publisher(servers.nats_port)
    publisher.fill(rows)
    publisher.close()


async def _make_streams(servers: World) -> None:
    connection = await nats.connect(servers.settings.nats_url.get_secret_value())
    await ensure_streams(connection.jetstream(), servers.settings)
    await connection.close()


def compare() -> dict[str, Figures]:
    return {consumer: store(rows, consumer) for consumer, rows in COMPARED_ROWS.items()}


def batches() -> dict[str, Figures]:
    with world() as servers:
        return {str(size): curve.inserts(servers, size, CURVE_ROWS) for size in BATCHES}


def visible() -> dict[str, Figures]:
    with world() as servers:
        return {
            "500 ms": latency.until_queryable(servers, RATE, 10, 500),
            "10 s (default)": latency.until_queryable(servers, RATE, 20, 10_000),
            "10 s, 20 a second": latency.until_queryable(servers, 20, 30, 10_000),
        }


def live() -> dict[str, Figures]:
    with world() as servers:
        asyncio.run(_make_streams(servers))
        return {"sse": latency.live_beside_backlog(servers, 600_000, 100)}


def long() -> dict[str, Figures]:
    return {"5 million": store(LONG_ROWS, "sidecar")}


SCENARIOS: dict[str, Callable[[], dict[str, Figures]]] = {
    "compare": compare,
    "batches": batches,
    "latency": visible,
    "live": live,
    "long": long,
}


if __name__ == "__main__":
    main()
