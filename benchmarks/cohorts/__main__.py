"""`python -m benchmarks.cohorts`: latency of cohort figures through the HTTP API, cold and warm.

Cold: every question is new, nothing is in the cache. Warm: 200 questions (10 comparisons), asked
again and again.
The load comes from the same machine, so that with 200 readers it shares the cores with the servers.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from benchmarks.cohorts.layouts import compare_layouts
from benchmarks.cohorts.readers import measure, requests
from benchmarks.cohorts.world import world

ROUTES = ("metrics", "trends", "compare", "top")
READERS = 200
MANY = 1_000_000
# Questions that are asked again and again. A company's share of the cache is 4 MiB, and a
# comparison of 50 cohorts has 1,225 pairs: more of one company would drive each other out.
WARM = {"compare": 10}
HEAD = f"{'route':9}{'readers':>8} {'cache':6}{'answers':>8}{'/s':>7}{'p50 ms':>9}{'p95 ms':>9}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cohorts", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="1 is 10 million metric rows")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument(
        "--layouts", action="store_true", help="compare other keys and the view too"
    )
    options = parser.parse_args()
    with world(options.scale) as built:
        print(
            f"{built.rows:,} metric rows, {built.members:,} members, "
            f"{sum(map(len, built.cohorts.values())):,} cohorts, {len(built.cohorts)} companies;"
            f" loaded in {built.load_seconds:.0f} s"
        )
        print(HEAD + f"{'errors':>8}{'hits':>7}")
        for route in ROUTES:
            # The first comparison imports the statistics libraries.
            asyncio.run(measure(built.url, requests(route, built.cohorts, 1), 1, 0.1))
            for readers, cache in ((1, "cold"), (8, "cold"), (READERS, "cold"), (READERS, "warm")):
                distinct = MANY if cache == "cold" else WARM.get(route, READERS)
                asked = requests(route, built.cohorts, distinct)
                if cache == "warm":
                    for _ in range(100):  # until every question has its answer
                        warming = asyncio.run(measure(built.url, asked, 8, options.seconds))
                        if warming.hits > 2 * distinct:
                            break
                elif readers > 1:
                    for _ in range(5000 if readers == READERS else 2500):
                        next(asked)  # those that the measurement before has left in the cache
                timing = asyncio.run(measure(built.url, asked, readers, options.seconds))
                print(
                    f"{route:9}{readers:8} {cache:6}{len(timing.ms):8}"
                    f"{len(timing.ms) / timing.seconds:7.0f}{timing.p(50):9.1f}{timing.p(95):9.1f}"
                    f"{timing.errors:8}{timing.hits / max(1, len(timing.ms)):7.0%}",
                    flush=True,
                )
        if options.layouts:
            started = time.monotonic()
            compare_layouts(built)
            print(f"layouts took {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
