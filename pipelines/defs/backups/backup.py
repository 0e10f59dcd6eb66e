"""Taking a backup of both databases, and removing old ones."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Set
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from clickhouse_connect.driver.client import Client

from config import Settings
from pipelines.defs.backups import catalogue, platform, warehouse
from pipelines.defs.backups.catalogue import Catalogue
from pipelines.defs.backups.chains import newest, prunable
from pipelines.defs.backups.record import Backup, Kind
from pipelines.defs.backups.target import Target, open_target
from pipelines.progress import SILENT, Progress
from sql import statement

ERROR_CHARACTERS = 1000


def take_backup(
    pg: psycopg.Connection,
    ch: Client,
    settings: Settings,
    kind: Kind,
    now: datetime,
    progress: Progress = SILENT,
) -> Backup:
    """Back both databases up and return what the catalogue holds of it.

    An incremental backup without a base that can be trusted becomes a full one.

    Args:
        pg: the platform database, in autocommit mode.
        now: the moment that the backup is named and catalogued by, with a time zone.

    Raises:
        BackupsBusyError: another backup, drill or restore is under way.
        Exception: whatever failed; the catalogue then has the backup as failed, with the reason.
    """
    target = open_target(settings, ch)
    with catalogue.opened(pg, target, settings.clickhouse_database) as known:
        return _take(pg, ch, settings, target, known, kind, now, progress)


def prune(
    pg: psycopg.Connection, ch: Client, settings: Settings, now: datetime, *, dry_run: bool = False
) -> list[Backup]:
    """Remove the backups that `BACKUP_KEEP_DAYS` lets go; returns them.

    Raises:
        BackupsBusyError: a backup, drill or restore is under way.
    """
    target = open_target(settings, ch)
    with catalogue.opened(pg, target, settings.clickhouse_database) as known:
        return _prune(settings, target, known, now, dry_run)


def take_and_prune(
    pg: psycopg.Connection, ch: Client, settings: Settings, kind: Kind, now: datetime
) -> tuple[Backup, list[Backup]]:
    """Both after each other, with one look at the catalogue. Raises what `take_backup` raises."""
    target = open_target(settings, ch)
    with catalogue.opened(pg, target, settings.clickhouse_database) as known:
        backup = _take(pg, ch, settings, target, known, kind, now)
        return backup, _prune(settings, target, known, now, dry_run=False)


def _take(
    pg: psycopg.Connection,
    ch: Client,
    settings: Settings,
    target: Target,
    known: Catalogue,
    kind: Kind,
    now: datetime,
    progress: Progress = SILENT,
) -> Backup:
    began = time.monotonic()
    base = newest(known.backups) if kind is Kind.INCREMENTAL else None
    backup = _begun(target, base, settings.clickhouse_database, now, known.taken)
    known.write(backup)
    try:
        done = _fill(pg, ch, settings, target, backup, base, progress)
        elapsed = time.monotonic() - began
        done = dataclasses.replace(
            done,
            state="complete",
            finished_at=now + timedelta(seconds=elapsed),
            duration_seconds=round(elapsed, 3),
        )
        target.write_manifest(done)
    except BaseException as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:ERROR_CHARACTERS]
        known.write(dataclasses.replace(backup, state="failed", error=said))
        raise
    known.write(done)
    return done


def _prune(
    settings: Settings, target: Target, known: Catalogue, now: datetime, dry_run: bool
) -> list[Backup]:
    gone = prunable(known.backups, now, timedelta(days=settings.backup_keep_days))
    for backup in [] if dry_run else gone:
        target.delete(backup.backup_id)
        known.write(dataclasses.replace(backup, state="pruned"))
    return gone


def _begun(
    target: Target, base: Backup | None, database: str, now: datetime, taken: Set[str]
) -> Backup:
    kind = Kind.FULL if base is None else Kind.INCREMENTAL
    stem = f"{now.astimezone(UTC):%Y-%m-%dT%H-%M-%SZ}-{kind}"
    backup_id, number = stem, 1
    while backup_id in taken:
        number += 1
        backup_id = f"{stem}-{number}"
    return Backup(
        backup_id=backup_id,
        kind=kind,
        base_id=base.backup_id if base else None,
        target=target.name,
        location=f"{target.name}/{backup_id}",
        database=database,
        state="running",
        started_at=now,
    )


def _fill(
    pg: psycopg.Connection,
    ch: Client,
    settings: Settings,
    target: Target,
    backup: Backup,
    base: Backup | None,
    progress: Progress,
) -> Backup:
    """Write everything but the manifest."""
    progress.begin(3)
    database = settings.clickhouse_database
    location = target.location(backup.backup_id)
    with tempfile.TemporaryDirectory(prefix="analytics-backup-") as folder:
        file = Path(folder) / "postgres.dump"
        progress.step("dumping Postgres")
        dump, postgres_version = platform.dump(settings.database_url.get_secret_value(), file)
        target.write_dump(backup.backup_id, file)
    based_on = target.location(base.backup_id) if base else None
    size, _ = warehouse.back_up(ch, database, location, based_on, progress)
    scratch = f"{database}_backup_{backup.started_at.astimezone(UTC):%Y%m%d%H%M%S}"
    with warehouse.attached(ch, database, location, scratch):
        known = base.warehouse if base else None
        figures = warehouse.read_warehouse(ch, scratch, known, progress)
        migrations = warehouse.migrations(ch, scratch)
    return dataclasses.replace(
        backup,
        clickhouse_version=warehouse.version(ch),
        postgres_version=postgres_version,
        clickhouse_migrations=migrations,
        postgres_migrations=_postgres_migrations(pg),
        bytes=size + dump.bytes,
        warehouse=figures,
        platform=dump,
    )


def _postgres_migrations(pg: psycopg.Connection) -> tuple[str, ...]:
    rows = pg.execute(statement("postgres/select_migrations")).fetchall()
    return tuple(sorted(row[0] for row in rows))
