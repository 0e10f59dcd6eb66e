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
# Begins the error of a backup whose folder went; it may come back, as a disk that is mounted again.
GONE = "its files are gone from"


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


class Catalogue:
    """The backups of one database in one target, held by whoever has the lock."""

    def __init__(self, pg: psycopg.Connection, target: Target, database: str) -> None:
        """Make table and target agree, with one read of each.

        A manifest that the table lacks is added: Postgres was lost, or restored to an earlier day.
        A row whose manifest is gone is failed, and so is one that says it is running, since it
        would hold the lock. Backups of other targets and of other databases in the same target stay
        as they are.
        """
        self._pg, self._of = pg, (target.name, database)
        self._every = {backup.backup_id: backup for backup in read(pg)}
        present = target.backup_ids()
        self.taken = self._every.keys() | present
        for backup_id in sorted(present):
            if not _may_have_come(self._every.get(backup_id)):
                continue
            try:
                manifest = target.read_manifest(backup_id)
            except ValueError:  # a folder that is not ours, or of a later version: left alone
                continue
            if manifest is not None and manifest.database == database:
                # The folder may have been moved here, or its bucket renamed.
                self.write(dataclasses.replace(manifest, target=target.name))
        for backup in self.backups:
            error = None
            if backup.state == "running":
                error = "it was cut before its end"
            elif backup.complete and backup.backup_id not in present:
                error = f"{GONE} {target.name}"
            if error is not None:
                self.write(dataclasses.replace(backup, state="failed", error=error))

    @property
    def every(self) -> list[Backup]:
        """With those of other targets and databases, the oldest first."""
        return sorted(self._every.values(), key=lambda one: (one.started_at, one.backup_id))

    @property
    def backups(self) -> list[Backup]:
        """Those of this database in this target, the oldest first."""
        return [one for one in self.every if (one.target, one.database) == self._of]

    def write(self, backup: Backup) -> None:
        """Insert the backup or replace what was known of it, here and in the table."""
        write(self._pg, backup)
        self._every[backup.backup_id] = backup


@contextmanager
def opened(pg: psycopg.Connection, target: Target, database: str) -> Iterator[Catalogue]:
    """The catalogue, with the lock until the end.

    Raises:
        BackupsBusyError: another backup, drill, pruning or restore is under way.
    """
    with backups_lock(pg):
        yield Catalogue(pg, target, database)


def _may_have_come(known: Backup | None) -> bool:
    """Whether a folder's manifest may say more than the table: nobody knows the backup, nobody saw
    its end, or its files were gone. One that failed by itself never got a manifest.
    """
    if known is None or known.state == "running":
        return True
    return known.state == "failed" and (known.error or "").startswith(GONE)
