"""Cohorts and memberships of whole companies, compared row by row; only what differs is written.

It needs no watermark, so it is the answer to a missing or foreign one, the backfill of one company
or all, and the repair of rows that somebody wrote into ClickHouse by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import psycopg
from clickhouse_connect.driver.client import Client

from pipelines.defs.cohorts import warehouse
from pipelines.defs.cohorts.rows import CohortRow, MemberRow, platform_cohort
from sql import statement

# Rows of both sides held in memory at once, about 100 MB; a larger company is a chunk of its own.
CHUNK_ROWS = 200_000
# Their ids are one parameter of a query, which may have 128 KiB; an id has up to 100 bytes.
CHUNK_COMPANIES = 1000


class Keyed(Protocol):
    @property
    def key(self) -> tuple[str, ...]: ...


Row = TypeVar("Row", bound=Keyed)


@dataclass
class Repair:
    """What had to be written, in rows."""

    companies: int = 0
    cohorts_written: int = 0
    cohorts_deleted: int = 0
    members_written: int = 0
    members_deleted: int = 0


def difference(
    wanted: Iterable[Row], present: Iterable[Row]
) -> tuple[list[Row], list[tuple[str, ...]]]:
    """Rows of `wanted` that `present` lacks or has otherwise, and keys that only `present` has."""
    by_key = {row.key: row for row in present}
    missing = [row for row in wanted if by_key.pop(row.key, None) != row]
    return missing, list(by_key)


def count_rows(pg: psycopg.Connection, ch: Client) -> dict[str, tuple[int, int, int, int]]:
    """Per company: cohorts in Postgres and ClickHouse, memberships in Postgres and ClickHouse."""
    platform = {
        str(company): (int(cohorts), int(members))
        for company, cohorts, members in pg.execute(statement("postgres/count_company_rows"))
    }
    stored = {
        str(company): (int(cohorts), int(members))
        for company, cohorts, members in ch.query(
            statement("clickhouse/count_company_rows")
        ).result_rows
    }
    counts = {}
    for company in sorted(platform.keys() | stored.keys()):
        ours, theirs = platform.get(company, (0, 0)), stored.get(company, (0, 0))
        counts[company] = (ours[0], theirs[0], ours[1], theirs[1])
    return counts


def companies_of_both(pg: psycopg.Connection, ch: Client) -> list[str]:
    """Every company with a cohort or a membership on either side."""
    return list(count_rows(pg, ch))


def chunks(sizes: Mapping[str, int], limit: int) -> Iterator[list[str]]:
    """Names in groups whose sizes sum to at most `limit`; a larger one stands alone."""
    group: list[str] = []
    total = 0
    for name, size in sizes.items():
        if group and (total + size > limit or len(group) == CHUNK_COMPANIES):
            yield group
            group, total = [], 0
        group.append(name)
        total += size
    if group:
        yield group


def resync_companies(pg: psycopg.Connection, ch: Client, companies: Sequence[str]) -> Repair:
    """Make ClickHouse's rows of `companies` those of Postgres; call in the lock, one snapshot."""
    counted = count_rows(pg, ch)
    sizes = {company: sum(counted.get(company, (0,))) for company in companies}
    repair = Repair(companies=len(sizes))
    for group in chunks(sizes, CHUNK_ROWS):
        _resync_group(pg, ch, group, repair)
    return repair


def _resync_group(
    pg: psycopg.Connection, ch: Client, companies: Sequence[str], repair: Repair
) -> None:
    bound = {"company_ids": list(companies)}
    cohorts, stale_cohorts = difference(
        [
            platform_cohort(*row)
            for row in pg.execute(statement("postgres/select_company_cohorts"), bound)
        ],
        [
            CohortRow(*row)
            for row in ch.query(
                statement("clickhouse/select_company_cohorts"), parameters=bound
            ).result_rows
        ],
    )
    members, stale_members = difference(
        [
            MemberRow(*row)
            for row in pg.execute(statement("postgres/select_company_members"), bound)
        ],
        [
            MemberRow(*row)
            for row in ch.query(
                statement("clickhouse/select_company_members"), parameters=bound
            ).result_rows
        ],
    )
    gone = {(company, cohort) for company, cohort in stale_cohorts}
    repair.cohorts_written += warehouse.insert_cohorts(ch, cohorts)
    repair.members_written += warehouse.insert_members(ch, members)
    # A cohort that is gone takes its memberships along by one predicate.
    repair.cohorts_deleted += warehouse.delete_cohorts(ch, sorted(gone))
    warehouse.delete_members(
        ch,
        [
            (user, cohort, company)
            for company, cohort, user in stale_members
            if (company, cohort) not in gone
        ],
    )
    repair.members_deleted += len(stale_members)
