"""`python -m benchmarks.faults --rounds 30 --events 100000`: kill -9 while events come, and proof.

In each round the sidecar, NATS and ClickHouse are each killed once, in random order and at random
moments while a producer publishes; then every event that the stream has accepted must be there
exactly once for readers, in both tables. A line a round; ends with 1 at the first that is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time

from benchmarks.ingest.world import DATABASE, World, world
from benchmarks.streaming.process import memory_kb
from tests.live.ingestion.faults import Proof, SureProducer, Victim, kill
from tests.live.sidecar import SidecarProcess


async def run(servers: World, rounds: int, events: int, seed: int) -> None:
    """Raises AssertionError when an event is missing or there twice."""
    chance = random.Random(seed)
    settings = servers.settings
    sidecar = SidecarProcess(settings, CLICKHOUSE_BATCH_TIMEOUT_MS="500")
    sidecar.start()
    url = settings.nats_url.get_secret_value()
    proof = Proof(settings.clickhouse_port, DATABASE, url)
    try:
        for number in range(1, rounds + 1):
            producer = SureProducer(f"round-{number}")
            await producer.open(url)
            begin = time.monotonic()
            publishing = asyncio.create_task(producer.publish(events))
            named: list[tuple[str, Victim]] = [
                ("sidecar", sidecar),
                ("nats", servers.nats),
                ("clickhouse", servers.clickhouse),
            ]
            chance.shuffle(named)
            killed_at = []
            for name, victim in named:
                await asyncio.sleep(chance.uniform(0.1, 2))
                killed_at.append(f"{name} at {len(producer.accepted)}")
                await kill(victim)
            await publishing
            published = time.monotonic() - begin
            stored = await proof.until_stored(producer)
            await producer.close()
            print(
                f"round {number}: {len(producer.accepted)} accepted in {published:.1f} s, all there"
                f" once {stored:.1f} s later; killed {', '.join(killed_at)};"
                f" sidecar {memory_kb([sidecar.pid], 'VmHWM') / 1024:.0f} MB",
                flush=True,
            )
    finally:
        sidecar.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--events", type=int, default=100_000, help="a round")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with world() as servers:
        try:
            asyncio.run(run(servers, options.rounds, options.events, options.seed))
        except AssertionError as error:
            print(f"failed: {error}", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
