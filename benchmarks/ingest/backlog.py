"""A backlog in the stream, and somebody who stores it: rows a second and CPU a row."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from clickhouse_connect.driver.client import Client

from benchmarks.ingest.world import World
from benchmarks.streaming.process import cpu_seconds, memory_kb
from tests.live.sidecar import SidecarProcess

POLL_SECONDS = 0.05
GIVE_UP_SECONDS = 600
# The last rows of a backlog are fewer than a batch and wait for its timeout, by contract.
TAIL_ROWS = 1000
Figures = dict[str, float]


def measure(world: World, rows: int, consumer: str, **settings: str) -> Figures:
    """Rows a second and CPU a row, from the first commit up to the tail."""
    with world.client() as client, running(world, consumer, settings) as pid:
        parties = {"sidecar": pid, "clickhouse": world.clickhouse.pid, "nats": world.nats.pid}
        begin = _wait(client, 1)
        cpu = {name: cpu_seconds([of or 0]) for name, of in parties.items()}
        end = _wait(client, rows - TAIL_ROWS)
        stored = end[1] - begin[1]
        spent = {name: cpu_seconds([of or 0]) - cpu[name] for name, of in parties.items()}
        return {
            "rows_per_second": stored / (end[0] - begin[0]),
            **{f"{name}_us": seconds / stored * 1e6 for name, seconds in spent.items()},
            "peak_mb": memory_kb([pid], "VmHWM") / 1024,
        }


@contextmanager
def running(world: World, consumer: str, settings: dict[str, str]) -> Iterator[int]:
    """The process id of a running consumer: our sidecar, or the naive one."""
    if consumer == "sidecar":
        sidecar = SidecarProcess(world.settings, **settings)
        sidecar.start(wait_ready=False)
        try:
            yield sidecar.pid
        finally:
            sidecar.stop()
        return
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks.ingest.naive"),
            world.settings.nats_url.get_secret_value(),
            str(world.settings.clickhouse_port),
        ]
    )
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _wait(client: Client, rows: int) -> tuple[float, int]:
    """When the warehouse has at least so many rows, and how many it has then.

    Counted from the parts: a query over the rows would cost what is measured.
    """
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while True:
        ((stored,),) = client.query(
            "SELECT toInt64(sum(rows)) FROM system.parts"
            " WHERE active AND database = currentDatabase() AND table = 'events'"
        ).result_rows
        now = time.monotonic()
        if stored >= rows:
            return now, stored
        assert now < give_up, f"{stored} of {rows} rows after {GIVE_UP_SECONDS} s"
        time.sleep(POLL_SECONDS)
