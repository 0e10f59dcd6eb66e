"""Do both databases hold the same cohorts and memberships, row by row? And the repair where not.

Both are done in one snapshot of Postgres while no sync is under way. A row that changes meanwhile
is in no later snapshot's way: the sync that brings it waits for the lock, and the watermark stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg
from clickhouse_connect.driver.client import Client

from pipelines.defs.cohorts import change_log
from pipelines.defs.cohorts.change_log import Watermark
from pipelines.defs.cohorts.comparison import (
    TABLES,
    Difference,
    hash_groups,
    read_differences,
    write_differences,
)
from sql import statement

# What a check names of a table; all of them would make the page unreadable.
SHOWN_DIFFERENCES = 20


@dataclass
class TableParity:
    """A table's rows in figures. `rows` are Postgres's; `pending` ones differ because of a change
    that no sync has taken yet, and are none of the others.
    """

    rows: int
    missing: int = 0
    extra: int = 0
    changed: int = 0
    pending: int = 0
    companies: set[str] = field(default_factory=set)
    shown: list[str] = field(default_factory=list)

    @property
    def differing(self) -> int:
        return self.missing + self.extra + self.changed

    def add(self, found: Sequence[Difference]) -> None:
        for one in found:
            if one.wanted is None:
                self.extra += 1
            elif one.present is None:
                self.missing += 1
            else:
                self.changed += 1
            self.companies.add(one.key[0])
            if len(self.shown) < SHOWN_DIFFERENCES:
                self.shown.append(one.text())


@dataclass(frozen=True)
class Parity:
    """`companies` are those that either database knows; `tables` by name."""

    companies: int
    tables: dict[str, TableParity]

    @property
    def differing(self) -> int:
        """Rows that differ though nothing is left to sync for them."""
        return sum(one.differing for one in self.tables.values())


def compare_rows(pg: psycopg.Connection, ch: Client) -> Parity:
    """Find the rows that differ.

    Args:
        pg: in autocommit mode.

    Raises:
        psycopg.errors.LockNotAvailable: a sync is under way for longer than `lock_timeout`.
    """
    return _compare(pg, ch, write=False)


def repair_rows(pg: psycopg.Connection, ch: Client) -> Parity:
    """The same, and write these rows, no others, to ClickHouse as they are in Postgres."""
    return _compare(pg, ch, write=True)


def _compare(pg: psycopg.Connection, ch: Client, *, write: bool) -> Parity:
    tables: dict[str, TableParity] = {}
    companies: set[str] = set()
    with change_log.sync_lock(pg):
        done = change_log.read_checkpoint(ch)
        with change_log.one_snapshot(pg):
            if change_log.read_position(pg, done).resync_reason is not None:
                done = None
            for table in TABLES:
                hashed = hash_groups(pg, ch, table)
                companies.update(group[0] for group in hashed.groups)
                tables[table.name] = parity = TableParity(hashed.rows)
                for found in read_differences(pg, ch, table, hashed):
                    drifted = _without_pending(pg, table.name, found, done)
                    parity.pending += len(found) - len(drifted)
                    parity.add(drifted)
                    if write:
                        write_differences(ch, drifted)
    return Parity(len(companies), tables)


def _without_pending(
    pg: psycopg.Connection, source: str, found: list[Difference], done: Watermark | None
) -> list[Difference]:
    """Those whose row no change past the watermark names: their difference is work to do, not
    drift. Without a watermark nothing tells them apart, and all count.
    """
    # A key with a NUL was written by hand: Postgres could neither hold it nor be asked for it.
    asked = [one for one in found if "\0" not in "".join(one.key)]
    if done is None or not asked:
        return found
    keys = [(*one.key, "")[:3] for one in asked]
    company_ids, cohort_ids, user_ids = map(list, zip(*keys, strict=True))
    pending = {
        tuple(row)
        for row in pg.execute(
            statement("postgres/select_pending_keys"),
            {
                "source": source,
                "snapshot": done.snapshot,
                "company_ids": company_ids,
                "cohort_ids": cohort_ids,
                "user_ids": user_ids,
            },
        )
    }
    return [one for one in found if (*one.key, "")[:3] not in pending]
