"""Writes to the warehouse's `cohorts` and `user_cohorts`. Every write may be repeated: an insert
replaces its row, a delete names keys.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from clickhouse_connect.driver.client import Client

from config.names import TABLE_COHORTS, TABLE_MEMBERS_TO_DELETE, TABLE_USER_COHORTS
from pipelines.defs.cohorts.rows import CohortRow, MemberRow
from sql import statement

# 1,000 keys are 76 KB as a parameter, of which ClickHouse takes 128 KiB. Such deletes are sent by
# raw_query, because command() puts its parameters into the address, whatever the client's settings.
DELETE_KEYS = 1000
INSERT_ROWS = 50_000

Item = TypeVar("Item")


def insert_cohorts(ch: Client, rows: Sequence[CohortRow]) -> int:
    """Insert or replace cohorts; returns how many."""
    return _insert(ch, TABLE_COHORTS, CohortRow._fields, rows)


def insert_members(ch: Client, rows: Sequence[tuple[str, str, str, int]]) -> int:
    """Insert or replace memberships, fields as in MemberRow; returns how many."""
    return _insert(ch, TABLE_USER_COHORTS, MemberRow._fields, rows)


def _insert(
    ch: Client, table: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]
) -> int:
    for batch in _batches(rows, INSERT_ROWS):
        ch.insert(table, list(zip(*batch, strict=True)), columns, column_oriented=True)
    return len(rows)


def delete_cohorts(ch: Client, keys: Sequence[tuple[str, str]]) -> int:
    """Remove cohorts by (company, cohort) with all their memberships; returns how many cohorts.

    Memberships go first, so that no retry finds the cohort gone and its members left.
    """
    for batch in _batches(keys, DELETE_KEYS):
        parameters = {
            "company_ids": sorted({company_id for company_id, _ in batch}),
            "cohort_ids": [cohort_id for _, cohort_id in batch],
            "keys": [f"{company_id}/{cohort_id}" for company_id, cohort_id in batch],
        }
        ch.raw_query(statement("clickhouse/delete_cohort_members"), parameters=parameters)
        ch.raw_query(statement("clickhouse/delete_cohorts"), parameters=parameters)
    return len(keys)


def delete_members(ch: Client, keys: Sequence[tuple[str, str, str]]) -> int:
    """Remove memberships by (user, cohort, company); returns how many keys were named.

    One mutation for all of them; the caller holds the sync's lock, see the statement.
    """
    if not keys:
        return 0
    ch.command(statement("clickhouse/truncate_members_to_delete"))
    _insert(ch, TABLE_MEMBERS_TO_DELETE, ("user_id", "cohort_id", "company_id"), keys)
    ch.command(statement("clickhouse/delete_members"))
    ch.command(statement("clickhouse/truncate_members_to_delete"))
    return len(keys)


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
