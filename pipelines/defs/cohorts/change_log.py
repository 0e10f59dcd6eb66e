"""The change log of cohorts, memberships and users, and how far each of its readers has come.

A watermark is a snapshot of transactions together with the identity of the database that counted
them. A reader takes every change that is not visible in its watermark, and its next watermark is
the snapshot it read in. A transaction that commits late was not visible then: it is still to come.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import psycopg
from clickhouse_connect.driver.client import Client

from sql import statement

CHECKPOINT_NAME = "cohort_sync"
SNAPSHOT_TEXT = re.compile(r"^\d+:\d+:(\d+(,\d+)*)?$")
# Two-key advisory locks are a namespace of their own; 0x636F is 'co'.
LOCK_CLASS = 0x636F
SYNC_LOCK, MEMBERSHIP_LOCK = 1, 2


class Reader(StrEnum):
    """Who reads the change log."""

    MEMBERSHIP = "membership"
    CLICKHOUSE = "clickhouse"


@dataclass(frozen=True)
class Watermark:
    """Everything visible in `snapshot` (`xmin:xmax:xip,…`) of the database `identity` is done."""

    identity: str
    snapshot: str

    def text(self) -> str:
        """As it is kept in ClickHouse."""
        return json.dumps({"identity": self.identity, "snapshot": self.snapshot})

    @staticmethod
    def parse(text: str) -> Watermark | None:
        """The watermark in `text`; None for one that can't be read: it asks for a full resync."""
        try:
            value = json.loads(text)
            identity, snapshot = str(value["identity"]), str(value["snapshot"])
        except (ValueError, TypeError, KeyError):
            return None
        return Watermark(identity, snapshot) if SNAPSHOT_TEXT.match(snapshot) else None


@dataclass(frozen=True)
class Position:
    """Where a transaction stands: the watermark it leads to, and what lies between.

    `resync_reason` is None when the reader can go by the log.
    """

    watermark: Watermark
    resync_reason: str | None
    has_changes: bool


def read_position(pg: psycopg.Connection, done: Watermark | None) -> Position:
    """The current snapshot against what is `done`. Call first in a transaction."""
    [row] = pg.execute(
        statement("postgres/select_change_log_position"),
        {
            "identity": done.identity if done else None,
            "snapshot": done.snapshot if done else None,
        },
    ).fetchall()
    identity, snapshot, resync_reason, has_changes = row
    return Position(Watermark(identity, snapshot), resync_reason, has_changes)


@contextmanager
def one_snapshot(pg: psycopg.Connection) -> Iterator[None]:
    """A read-only transaction in which every statement sees the same state."""
    with pg.transaction():
        pg.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


@contextmanager
def sync_lock(pg: psycopg.Connection) -> Iterator[None]:
    """Only one writer of the warehouse's cohorts at a time, whoever started it.

    Held by the session and taken before the snapshot: a snapshot that waited for the lock would be
    older than the watermark that the other writer has left.

    Raises:
        psycopg.errors.LockNotAvailable: the other still has it after the `lock_timeout`.
    """
    key = {"class": LOCK_CLASS, "lock": SYNC_LOCK}
    pg.execute("SELECT pg_advisory_lock(%(class)s, %(lock)s)", key)
    try:
        yield
    finally:
        if not pg.closed:
            pg.execute("SELECT pg_advisory_unlock(%(class)s, %(lock)s)", key)


def read_checkpoint(ch: Client) -> Watermark | None:
    """The watermark that the warehouse keeps beside its rows, so that a restored warehouse has the
    one that fits them. None when there is none that can be read.
    """
    rows = ch.query(
        statement("clickhouse/select_checkpoint"), parameters={"name": CHECKPOINT_NAME}
    ).result_rows
    return Watermark.parse(rows[0][0]) if rows else None


def write_checkpoint(ch: Client, watermark: Watermark) -> None:
    """Move the warehouse's watermark; call when all rows up to it are stored."""
    ch.command(
        statement("clickhouse/insert_checkpoint"),
        parameters={"name": CHECKPOINT_NAME, "position": watermark.text()},
    )


def read_watermark(pg: psycopg.Connection, reader: Reader) -> Watermark | None:
    """The watermark of `reader` in Postgres."""
    row = pg.execute(statement("postgres/select_watermark"), {"reader": reader}).fetchone()
    return Watermark(*row) if row else None


def write_watermark(pg: psycopg.Connection, reader: Reader, watermark: Watermark) -> None:
    """Move the watermark of `reader` in Postgres."""
    pg.execute(
        statement("postgres/upsert_watermark"),
        {"reader": reader, "identity": watermark.identity, "snapshot": watermark.snapshot},
    )


def prune(pg: psycopg.Connection) -> int:
    """Remove the changes that both readers are past. Returns how many."""
    [(pruned,)] = pg.execute(statement("postgres/prune_cohort_changes")).fetchall()
    return int(pruned)


def pending_head(pg: psycopg.Connection) -> int | None:
    """The last change that a reader has yet to take; 0: a full resync is due; None: all is done."""
    [(head,)] = pg.execute(statement("postgres/select_pending_changes")).fetchall()
    return None if head is None else int(head)
