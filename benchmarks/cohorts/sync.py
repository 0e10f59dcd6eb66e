"""`python -m benchmarks.cohorts.sync`: how long a million changes take from Postgres to ClickHouse.

Each line is one sync, from taking its lock to the moved watermark, by the code that a run calls.
After each the number of memberships of both sides is compared. Then all rows are compared, as the
check does it, and rows that were damaged in ClickHouse are repaired.
"""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
from clickhouse_connect.driver.client import Client

from benchmarks.cohorts.world import databases
from pipelines.defs.cohorts.parity import compare_rows, repair_rows
from pipelines.defs.cohorts.sync import sync_cohorts

MILLION = 1_000_000
CREATE_POPULATION = Path(__file__).with_name("create_population.sql")
INSERT = (
    "INSERT INTO user_cohorts (user_id, cohort_id, company_id, joined_by)"
    " SELECT user_id, cohort_id, company_id, 'ann' FROM everybody"
    " WHERE number > %s AND number <= %s"
)
DELETE = (
    "DELETE FROM user_cohorts USING everybody AS one WHERE user_cohorts.user_id = one.user_id"
    " AND user_cohorts.cohort_id = one.cohort_id AND number > %s AND number <= %s"
)
UPDATE = (
    "UPDATE user_cohorts SET joined_at = joined_at - interval '1 day' FROM everybody AS one"
    " WHERE user_cohorts.user_id = one.user_id AND user_cohorts.cohort_id = one.cohort_id"
    " AND number > %s AND number <= %s"
)
COUNT_DAMAGED = (
    "SELECT count() FROM user_cohorts"
    " WHERE cityHash64(user_id, cohort_id) % {twice:UInt64} IN (0, {once:UInt64})"
)
DAMAGE_DELETE = "DELETE FROM user_cohorts WHERE cityHash64(user_id, cohort_id) % {twice:UInt64} = 0"
DAMAGE_UPDATE = (
    "INSERT INTO user_cohorts SELECT user_id, cohort_id, company_id, joined_at + 1"
    " FROM user_cohorts WHERE cityHash64(user_id, cohort_id) % {twice:UInt64} = {once:UInt64}"
)


def main() -> None:
    with databases() as (pg, ch):
        pg.execute(CREATE_POPULATION.read_text(encoding="utf-8"))
        run(pg, ch, "1,000 cohorts, whole")
        run(pg, ch, "1,000,000 inserts", (INSERT, 0, MILLION))
        compare(pg, ch, "compared, no row differs", 0)
        for name, modulus in (("100 rows", 10_000), ("10,000 rows", 100)):
            damaged = damage(ch, modulus)
            compare(pg, ch, f"compared, {name} differ", damaged)
            compare(pg, ch, f"repaired, {name}", damaged, repair=True)
            compare(pg, ch, "compared again", 0)
        run(pg, ch, "1,000,000 deletes", (DELETE, 0, MILLION))
        run(pg, ch, "700,000 inserts", (INSERT, 0, 700_000))
        run(
            pg,
            ch,
            "300,000 inserts, 300,000 deletes, 400,000 updates",
            (INSERT, 700_000, MILLION),
            (DELETE, 0, 300_000),
            (UPDATE, 300_000, 700_000),
        )


def run(pg: psycopg.Connection, ch: Client, name: str, *changes: tuple[str, int, int]) -> None:
    """Make the changes, sync them, print a line.

    Raises:
        AssertionError: both sides differ afterwards.
    """
    for text, first, last in changes:
        pg.execute(text, (first, last))
    began = time.monotonic()
    sync_cohorts(pg, ch)
    seconds = time.monotonic() - began
    [(wanted,)] = pg.execute("SELECT count(*) FROM user_cohorts").fetchall()
    [(stored,)] = ch.query("SELECT count() FROM user_cohorts").result_rows
    assert wanted == stored, (wanted, stored)
    print(f"{name:52}{seconds:7.1f} s   {stored:10,} memberships on both sides", flush=True)


def damage(ch: Client, modulus: int) -> int:
    """Delete and change one row of `modulus` each, spread over all cohorts; returns how many."""
    bound = {"twice": 2 * modulus, "once": modulus}
    [(rows,)] = ch.query(COUNT_DAMAGED, parameters=bound).result_rows
    ch.command(DAMAGE_DELETE, parameters=bound)
    ch.command(DAMAGE_UPDATE, parameters=bound)
    return int(rows)


def compare(
    pg: psycopg.Connection, ch: Client, name: str, differing: int, *, repair: bool = False
) -> None:
    """Compare or repair, print a line.

    Raises:
        AssertionError: others than the `differing` rows were found.
    """
    began = time.monotonic()
    parity = repair_rows(pg, ch) if repair else compare_rows(pg, ch)
    seconds = time.monotonic() - began
    assert parity.differing == differing, (parity.differing, differing)
    print(f"{name:52}{seconds:7.1f} s   {parity.differing:10,} rows differed", flush=True)


if __name__ == "__main__":
    main()
