"""Do both databases hold the same number of cohorts and memberships, company by company?"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from clickhouse_connect.driver.client import Client

from pipelines.defs.cohorts import change_log
from pipelines.defs.cohorts.resync import count_rows
from sql import statement


@dataclass(frozen=True)
class CountDifference:
    """A company whose counts differ though nothing is left to sync for it."""

    company_id: str
    table: str
    postgres: int
    clickhouse: int


@dataclass(frozen=True)
class CountParity:
    """`pending` companies have changes that no sync has taken yet; they are not compared."""

    companies: int
    pending: int
    differences: tuple[CountDifference, ...]


def compare_counts(pg: psycopg.Connection, ch: Client) -> CountParity:
    """Compare counts while no sync is under way, in one snapshot of Postgres."""
    with change_log.sync_lock(pg):
        done = change_log.read_checkpoint(ch)
        with change_log.one_snapshot(pg):
            position = change_log.read_position(pg, done)
            pending: set[str] = set()
            if done is not None and position.resync_reason is None:
                pending = {
                    row[0]
                    for row in pg.execute(
                        statement("postgres/select_pending_companies"), {"snapshot": done.snapshot}
                    )
                }
            counts = count_rows(pg, ch)
    differences = []
    for company, (cohorts, cohorts_stored, members, members_stored) in counts.items():
        if company in pending:
            continue
        if cohorts != cohorts_stored:
            differences.append(CountDifference(company, "cohorts", cohorts, cohorts_stored))
        if members != members_stored:
            differences.append(CountDifference(company, "user_cohorts", members, members_stored))
    return CountParity(len(counts), len(pending), tuple(differences))


def differing_companies(pg: psycopg.Connection, ch: Client) -> list[str]:
    """Companies whose counts differ; what has changes that no sync has taken is not among them."""
    return sorted({one.company_id for one in compare_counts(pg, ch).differences})
