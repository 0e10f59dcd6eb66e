"""`python -m benchmarks.load [--users N]`: the load test, against a system of its own."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
from collections import Counter

import uvloop

from benchmarks.ingest.world import World, world
from benchmarks.load.k6 import Figures, K6Error, find_k6, run_k6
from benchmarks.load.users import Outcome, companies, run_users
from benchmarks.load.verdict import MOST_P95_MS, lines, table
from embedded.child import ChildError
from tests.live.sidecar import SidecarProcess

# A user of k6's is a JavaScript engine of its own, some MB each; ours is a socket.
MOST_K6_USERS = 500
# Streams end for k6's sake. More of them live longer, so that coming back stays a small part of the
# load: a hundred a second take a tenth to a quarter of a core.
RETURNS_A_SECOND = 100
# Streams, and what else a process opens.
SPARE_FILES = 500


def arguments() -> argparse.Namespace:
    """What to run; the defaults are the guide's 100 users in a minute and a half."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--users", type=int, default=100, help="streams of our own client")
    parser.add_argument("--k6-users", type=int, help=f"default: users, at most {MOST_K6_USERS}")
    parser.add_argument("--stage-seconds", type=int, default=15, help="k6 has 5.5 stages")
    parser.add_argument("--lifetime-seconds", type=int, help="of a stream; default: 20, and more")
    parser.add_argument(
        "--events-per-second", type=float, default=2.0, help="published for each company"
    )
    parser.add_argument(
        "--most-p95-ms", type=float, default=MOST_P95_MS, help="of publish → receive"
    )
    given = parser.parse_args()
    given.k6_users = given.k6_users or min(given.users, MOST_K6_USERS)
    given.lifetime_seconds = given.lifetime_seconds or max(20, given.users // RETURNS_A_SECOND)
    return given


async def run(world: World, url: str, given: argparse.Namespace) -> tuple[Outcome, Figures]:
    """k6 and our users at the same time, until k6 has run through its stages."""
    k6 = asyncio.create_task(
        run_k6(
            url,
            companies(given.users)[0],
            world.folder,
            users=given.k6_users,
            stage_seconds=given.stage_seconds,
            lifetime_seconds=given.lifetime_seconds,
        )
    )
    outcome = await run_users(
        url,
        world.settings.nats_url.get_secret_value(),
        given.users,
        events_per_second=given.events_per_second,
        ramp_seconds=3 * given.stage_seconds,
        until=k6,
    )
    return outcome, k6.result()


def main() -> int:
    """0 when every threshold is met, 1 when one is not, 2 when it can't be run."""
    given = arguments()
    try:
        find_k6()
        _allow_files(given.users + given.k6_users + SPARE_FILES)
        print(f"{given.users} users and {given.k6_users} of k6 on a system of their own …")
        lifetime = {"STREAM_MAX_LIFETIME_S": str(given.lifetime_seconds)}
        with world() as made, SidecarProcess(made.settings, **lifetime) as sidecar:
            outcome, k6 = uvloop.run(run(made, sidecar.url, given))
    except (K6Error, ChildError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    rows = lines(outcome, k6, given.most_p95_ms)
    load = os.getloadavg()[0]
    print(f"{table(rows)}\n  load average {load:.1f} on {os.cpu_count()} cores")
    for words, count in Counter(outcome.tally.errors).most_common(5):
        print(f"  {count} x {words}")
    if all(row.good is not False for row in rows):
        print("Every threshold is met. Next: make load USERS=5000, or docs/scaling.md")
        return 0
    print("A threshold is missed. Next: look at the load average, then at docs/operations.md")
    return 1


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise K6Error(f"{wanted} open files are needed and {hard} allowed; raise `ulimit -Hn`")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
