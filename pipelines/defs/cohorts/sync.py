"""Cohorts and memberships from Postgres to ClickHouse, by the change log or whole.

One run: take the lock, open one snapshot of Postgres, write to ClickHouse the state that the
changed keys have in it, then move the watermark to that snapshot. A run that is cut anywhere leaves
the watermark where it was, and the next run writes the same again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg
from clickhouse_connect.driver.client import Client

from pipelines.defs.cohorts import change_log, warehouse
from pipelines.defs.cohorts.change_log import Reader, Watermark
from pipelines.defs.cohorts.comparison import (
    COHORTS,
    TABLES,
    hash_groups,
    read_differences,
    write_differences,
)
from pipelines.defs.cohorts.rows import CohortRow
from sql import statement


@dataclass
class SyncResult:
    """What a sync wrote, in rows, and the watermark it reached.

    `resync_reason` is None when the sync went by the change log.
    """

    watermark: Watermark
    resync_reason: str | None = None
    companies: int = 0
    cohorts_written: int = 0
    cohorts_deleted: int = 0
    members_written: int = 0
    members_deleted: int = 0
    changes_pruned: int = field(default=0, compare=False)


def sync_cohorts(
    pg: psycopg.Connection, ch: Client, *, full: bool = False, companies: Sequence[str] = ()
) -> SyncResult:
    """Bring ClickHouse to the state of Postgres.

    Args:
        pg: in autocommit mode.
        full: compare all rows of all companies instead of going by the change log.
        companies: compare all rows of these companies; the watermark stays where it is.

    Raises:
        psycopg.errors.LockNotAvailable: another sync is under way for longer than `lock_timeout`.
    """
    with change_log.sync_lock(pg):
        done = change_log.read_checkpoint(ch)
        with change_log.one_snapshot(pg):
            position = change_log.read_position(pg, done)
            result = SyncResult(position.watermark, position.resync_reason)
            if companies:
                result.resync_reason = "asked for these companies"
                _resync(pg, ch, result, companies)
                return result
            if full:
                result.resync_reason = "asked for"
            if result.resync_reason:
                _resync(pg, ch, result)
            elif position.has_changes and done is not None:
                _apply_cohorts(pg, ch, result, done)
                _apply_members(pg, ch, result, done)
        # The transaction has ended well, so the connection lived and the lock was ours throughout.
        if result.resync_reason or position.has_changes:
            change_log.write_checkpoint(ch, position.watermark)
            change_log.write_watermark(pg, Reader.CLICKHOUSE, position.watermark)
            result.changes_pruned = change_log.prune(pg)
        elif done and change_log.read_watermark(pg, Reader.CLICKHOUSE) != done:
            # A run was cut between the two writes above: the sensor would ask for ever.
            change_log.write_watermark(pg, Reader.CLICKHOUSE, done)
    return result


def _resync(
    pg: psycopg.Connection, ch: Client, result: SyncResult, companies: Sequence[str] = ()
) -> None:
    """Whatever differs in `companies`, or in all: it needs no watermark, and so it is the answer to
    a missing or foreign one.
    """
    known: set[str] = set()
    for table in TABLES:
        hashed = hash_groups(pg, ch, table, companies)
        known.update(group[0] for group in hashed.groups)
        for found in read_differences(pg, ch, table, hashed):
            written, deleted = write_differences(ch, found)
            if table is COHORTS:
                result.cohorts_written += written
                result.cohorts_deleted += deleted
            else:
                result.members_written += written
                result.members_deleted += deleted
    result.companies = len(known)


def _apply_cohorts(pg: psycopg.Connection, ch: Client, result: SyncResult, done: Watermark) -> None:
    changed = pg.execute(
        statement("postgres/select_changed_cohorts"), {"snapshot": done.snapshot}
    ).fetchall()
    # The key comes first here, since a cohort that is gone has nothing but its key.
    present = [
        CohortRow(cohort_id, company_id, *rest)
        for company_id, cohort_id, *rest in changed
        if rest[0] is not None
    ]
    gone = [(row[0], row[1]) for row in changed if row[2] is None]
    result.companies = len({row[0] for row in changed})
    result.cohorts_written = warehouse.insert_cohorts(ch, present)
    result.cohorts_deleted = warehouse.delete_cohorts(ch, gone)


def _apply_members(pg: psycopg.Connection, ch: Client, result: SyncResult, done: Watermark) -> None:
    companies: set[str] = set()
    # A cursor of the server's: a million changes are never in memory at once.
    with pg.cursor(name="changed_members") as cursor:
        cursor.execute(statement("postgres/select_changed_members"), {"snapshot": done.snapshot})
        while rows := cursor.fetchmany(warehouse.INSERT_ROWS):
            present = [row for row in rows if row[3] is not None]
            gone = [row[:3] for row in rows if row[3] is None]
            companies.update(row[2] for row in rows)
            result.members_written += warehouse.insert_members(ch, present)
            result.members_deleted += warehouse.delete_members(ch, gone)
    result.companies = max(result.companies, len(companies))
