"""Rows of cohorts and memberships that both databases don't have alike.

Each database hashes its own rows, by company for cohorts and by cohort for memberships. Rows are
read only where count or hash differ, and then of both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from clickhouse_connect.driver.client import Client

from config.names import TABLE_COHORTS, TABLE_USER_COHORTS
from pipelines.defs.cohorts import warehouse
from pipelines.defs.cohorts.rows import CohortRow, MemberRow
from sql import statement

# Rows of both sides held in memory at once, about 100 MB; a larger group is a chunk of its own.
CHUNK_ROWS = 200_000
# Their ids are parameters of a query, of 128 KiB each at most; an id has up to 100 bytes.
CHUNK_GROUPS = 1000

Row = CohortRow | MemberRow
# What is hashed as one: (company,) for cohorts, (company, cohort) for memberships.
Group = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table that both databases have; its statements bear these names for either."""

    name: str
    hashes: str
    rows: str
    row: Callable[..., Row]
    # How many parts of a row's key make its group.
    group_parts: int


COHORTS = Table(TABLE_COHORTS, "hash_cohorts", "select_company_cohorts", CohortRow, 1)
MEMBERS = Table(TABLE_USER_COHORTS, "hash_members", "select_company_members", MemberRow, 2)
# Memberships go first: a cohort that is gone is deleted after all that is known of its members.
TABLES = (MEMBERS, COHORTS)


@dataclass(frozen=True)
class Difference:
    """A row as Postgres and as ClickHouse has it; None where one has none."""

    wanted: Row | None
    present: Row | None

    @property
    def key(self) -> tuple[str, ...]:
        """The row's key, whoever has it."""
        row = self.wanted or self.present
        return row.key if row else ()

    @property
    def columns(self) -> list[str]:
        """Names of those that differ where both have the row."""
        if self.wanted is None or self.present is None:
            return []
        pairs = zip(self.wanted._fields, self.wanted, self.present, strict=True)
        return [name for name, wanted, present in pairs if wanted != present]

    def text(self) -> str:
        """`acme: user 5 in cohort 7 is missing`, `… is extra`, `… differs in joined_at`."""
        company, cohort, *user = self.key
        what = f"user {user[0]} in cohort {cohort}" if user else f"cohort {cohort}"
        if self.wanted is None:
            return f"{company}: {what} is extra"
        if self.present is None:
            return f"{company}: {what} is missing"
        return f"{company}: {what} differs in {', '.join(self.columns)}"


@dataclass(frozen=True)
class Hashed:
    """A table's groups, hashed by both databases; `differing` has their rows of both together."""

    rows: int
    groups: frozenset[Group]
    differing: dict[Group, int]
    # Those of the differing ones that Postgres knows.
    platform: frozenset[Group]


def hash_groups(
    pg: psycopg.Connection, ch: Client, table: Table, companies: Sequence[str] = ()
) -> Hashed:
    """Hash all rows of `companies`, or of every company that either database has."""
    bound = {"company_ids": list(companies)}
    ours = _by_group(pg.execute(statement(f"postgres/{table.hashes}"), bound))
    theirs = _by_group(
        ch.query(statement(f"clickhouse/{table.hashes}"), parameters=bound).result_rows
    )
    nothing = (0, 0)
    groups = frozenset(ours.keys() | theirs.keys())
    differing = {
        group: ours.get(group, nothing)[0] + theirs.get(group, nothing)[0]
        for group in sorted(groups)
        if ours.get(group) != theirs.get(group)
    }
    rows = sum(count for count, _ in ours.values())
    return Hashed(rows, groups, differing, frozenset(differing.keys() & ours.keys()))


def _by_group(rows: Iterable[Sequence[object]]) -> dict[Group, tuple[int, int]]:
    return {
        tuple(map(str, group)): (int(str(rows)), int(str(hash_))) for *group, rows, hash_ in rows
    }


def read_differences(
    pg: psycopg.Connection, ch: Client, table: Table, hashed: Hashed
) -> Iterator[list[Difference]]:
    """Rows that differ in the groups that do, a chunk at a time."""
    for chunk in chunks(hashed.differing, CHUNK_ROWS):
        groups = set(chunk)
        wanted = pg.execute(statement(f"postgres/{table.rows}"), _ids(groups & hashed.platform))
        present = ch.query(statement(f"clickhouse/{table.rows}"), parameters=_ids(groups))
        yield [
            one
            for one in difference(
                (table.row(*row) for row in wanted),
                (table.row(*row) for row in present.result_rows),
            )
            # Companies and cohorts are named apart: rows written by hand may pair them otherwise.
            if one.key[: table.group_parts] in groups
        ]


def _ids(groups: Iterable[Group]) -> dict[str, list[str]]:
    groups = list(groups)
    return {
        "company_ids": sorted({group[0] for group in groups}),
        "cohort_ids": [group[1] for group in groups if len(group) > 1],
    }


def difference(wanted: Iterable[Row], present: Iterable[Row]) -> list[Difference]:
    """Each row that only one has, or that they have otherwise."""
    by_key = {row.key: row for row in present}
    found = []
    for row in wanted:
        other = by_key.pop(row.key, None)
        if other != row:
            found.append(Difference(row, other))
    return found + [Difference(None, row) for row in by_key.values()]


def chunks(sizes: Mapping[Group, int], limit: int) -> Iterator[list[Group]]:
    """Groups whose sizes sum to at most `limit`; a larger one stands alone."""
    chunk: list[Group] = []
    total = 0
    for group, size in sizes.items():
        if chunk and (total + size > limit or len(chunk) == CHUNK_GROUPS):
            yield chunk
            chunk, total = [], 0
        chunk.append(group)
        total += size
    if chunk:
        yield chunk


def write_differences(ch: Client, found: Sequence[Difference]) -> tuple[int, int]:
    """Make ClickHouse's rows those of Postgres; call in the sync's lock. Returns rows of Postgres
    written and rows that it lacks deleted.
    """
    wanted = [one.wanted for one in found if one.wanted is not None]
    extra = [one.present for one in found if one.wanted is None]
    written = warehouse.insert_cohorts(ch, [row for row in wanted if isinstance(row, CohortRow)])
    written += warehouse.insert_members(ch, [row for row in wanted if isinstance(row, MemberRow)])
    deleted = warehouse.delete_members(ch, [row[:3] for row in extra if isinstance(row, MemberRow)])
    deleted += warehouse.delete_cohorts(
        ch, [(row.company_id, row.cohort_id) for row in extra if isinstance(row, CohortRow)]
    )
    return written, deleted
