"""`python -m benchmarks.cohorts.latency`: from a change in Postgres to its row in ClickHouse.

A whole system by `embedded` without its demo, Dagster's daemon included. A membership is inserted,
and ClickHouse is asked again and again until it has it; the next one follows after a random pause.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from embedded.child import wait_until
from tests.live.system import Up, free_ports, make_up

LIMIT_SECONDS = 60
PAUSE_SECONDS = 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cohorts.latency")
    parser.add_argument("--changes", type=int, default=40)
    options = parser.parse_args()
    pause = random.Random(1)
    folder = Path(tempfile.mkdtemp(prefix="analytics-benchmark-"))
    with make_up(folder, free_ports(), DEMO="0") as up:
        up.wait_for("Next|next")
        with up.platform() as pg:
            pg.autocommit = True
            [(cohort,)] = pg.execute(
                "INSERT INTO cohorts (company_id, name) VALUES ('acme', 'c') RETURNING id::text"
            ).fetchall()
            taken = []
            for number in range(options.changes + 1):
                [(user,)] = pg.execute(
                    "INSERT INTO users (company_id) VALUES ('acme') RETURNING id::text"
                ).fetchall()
                pg.execute(
                    "INSERT INTO user_cohorts (user_id, cohort_id, company_id)"
                    " VALUES (%s, %s, 'acme')",
                    (user, cohort),
                )
                began = time.monotonic()
                # All members, since one comes at a time.
                found = wait_until(partial(_has_members, up, number + 1), LIMIT_SECONDS)
                assert found, f"not there after {LIMIT_SECONDS} s"
                seconds = time.monotonic() - began
                if number:  # the first run of a new instance reads everything
                    taken.append(seconds)
                    print(f"{number:4} {seconds:6.1f} s", flush=True)
                time.sleep(pause.uniform(0, PAUSE_SECONDS))
    p95 = statistics.quantiles(taken, n=20, method="inclusive")[18]
    print(f"median {statistics.median(taken):.1f} s, p95 {p95:.1f} s, worst {max(taken):.1f} s")


def _has_members(up: Up, wanted: int) -> bool:
    return up.warehouse("SELECT count() FROM user_cohorts") == str(wanted)


if __name__ == "__main__":
    main()
