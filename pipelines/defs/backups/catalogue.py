"""The table `backups`, and how it is made anew from the manifests in the target."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pipelines.defs.backups.record import Backup
from pipelines.defs.backups.target import Target
from sql import statement

# Two-key advisory locks are a namespace of their own; 0x6261 is 'ba'.
LOCK = {"class": 0x6261, "lock": 1}


class BackupsBusyError(RuntimeError):
    """Another backup, drill, pruning or restore is under way."""


@contextmanager
def backups_lock(pg: psycopg.Connection) -> Iterator[None]:
    """One backup, drill, pruning or restore at a time, whoever started it.

    Raises:
        BackupsBusyError: one is under way. Not waited for: it may take hours.
    """
    [(got,)] = pg.execute(statement("postgres/try_backup_lock"), LOCK).fetchall()
    if not got:
        raise BackupsBusyError("another backup, drill or restore is under way")
    try:
        yield
    finally:
        if not pg.closed and not pg.broken:
            pg.execute(statement("postgres/release_backup_lock"), LOCK)


def read(pg: psycopg.Connection) -> list[Backup]:
    """All backups, the oldest first."""
    rows = pg.execute(statement("postgres/select_backups")).fetchall()
    return [Backup.from_values(row[0]) for row in rows]


def write(pg: psycopg.Connection, backup: Backup) -> None:
    """Insert the backup or replace what was known of it."""
    pg.execute(statement("postgres/upsert_backup"), {"record": backup.to_json()})


def reconcile(pg: psycopg.Connection, target: Target, database: str) -> list[Backup]:
    """Make table and target agree; call with the lock.

    A manifest that the table lacks is added: Postgres was lost, or restored to an earlier day. A
    row whose manifest is gone is failed, and so is one that says it is running, since it would hold
    the lock. Backups of other targets and of other databases in the same target stay as they are.

    Returns:
        The backups of this database in this target, the oldest first.
    """
    known = {backup.backup_id: backup for backup in read(pg)}
    present = target.backup_ids()
    for backup_id in sorted(present):
        if backup_id in known and known[backup_id].state in {"complete", "pruned"}:
            continue
        try:
            manifest = target.read_manifest(backup_id)
        except ValueError:  # a folder that is not ours, or of a later version: left alone
            continue
        if manifest is not None and manifest.database == database:
            # The folder may have been moved here, or its bucket renamed.
            write(pg, dataclasses.replace(manifest, target=target.name))
    for backup in _of(read(pg), target, database):
        error = None
        if backup.state == "running":
            error = "it was cut before its end"
        elif backup.state == "complete" and backup.backup_id not in present:
            error = f"its files are gone from {target.name}"
        if error is not None:
            write(pg, dataclasses.replace(backup, state="failed", error=error))
    return _of(read(pg), target, database)


def _of(backups: list[Backup], target: Target, database: str) -> list[Backup]:
    return [one for one in backups if (one.target, one.database) == (target.name, database)]
