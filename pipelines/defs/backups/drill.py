"""The restore drill: the newest backup is restored beside, compared with the catalogue, dropped."""

from __future__ import annotations

import dataclasses
import time
from datetime import datetime

import psycopg
from clickhouse_connect.driver.client import Client

from config import Settings
from pipelines.defs.backups import catalogue, platform, warehouse
from pipelines.defs.backups.chains import NoBackupError, chain, newest
from pipelines.defs.backups.record import Backup, Drill
from pipelines.defs.backups.scratch import restore_platform, restore_warehouse
from pipelines.defs.backups.target import open_target
from pipelines.progress import SILENT, Progress


def run_drill(
    pg: psycopg.Connection,
    ch: Client,
    settings: Settings,
    now: datetime,
    backup_id: str | None = None,
    progress: Progress = SILENT,
) -> Backup:
    """Restore a backup, the newest by default, into scratch databases; returns it with its `drill`.

    What was found wrong is in `drill.reasons`, in the catalogue and in the manifest, not raised.

    Raises:
        NoBackupError: there is no complete backup, or not this one.
        BackupsBusyError: a backup or restore is under way.
    """
    target = open_target(settings, ch)
    database, url = settings.clickhouse_database, settings.database_url.get_secret_value()
    with catalogue.opened(pg, target, database) as known:
        # Also one that an earlier drill found damaged: as long as it is the newest, it is the one
        # that a disaster would meet.
        found = newest(known.backups, trusted=False)
        if backup_id is None and found is None:
            raise NoBackupError(f"there is no complete backup in {target.name}")
        backup = chain(known.backups, backup_id or (found.backup_id if found else ""))[-1]
        scratch = f"{database}_drill"
        platform_scratch = f"{platform.database_of(url)}_drill"
        progress.begin(3)
        began = time.monotonic()
        try:
            warehouse.drop_database(ch, scratch)
            reasons = restore_warehouse(
                *(ch, target, backup, backup.database, scratch),
                check_files=True,
                progress=progress,
            )
            reasons += restore_platform(url, target, backup, platform_scratch, progress)
        finally:
            elapsed = time.monotonic() - began
            warehouse.drop_database(ch, scratch)
            platform.drop(url, platform_scratch)
        drill = Drill(
            at=now,
            passed=not reasons,
            rto_seconds=round(elapsed, 3),
            rpo_seconds=(now - backup.started_at).total_seconds(),
            reasons=tuple(reasons),
        )
        backup = dataclasses.replace(backup, drill=drill, proven_at=now if drill.passed else None)
        known.write(backup)
        target.write_manifest(backup)
    return backup
