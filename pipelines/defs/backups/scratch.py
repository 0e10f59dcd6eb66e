"""A backup's contents restored beside what is in use, compared, and dropped again unless taken."""

from __future__ import annotations

import tempfile
from pathlib import Path

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipelines.defs.backups import platform, warehouse
from pipelines.defs.backups.platform import PlatformError
from pipelines.defs.backups.record import Backup, Warehouse
from pipelines.defs.backups.target import Target, TargetError
from pipelines.defs.backups.verification import differences, short, warehouse_differences
from pipelines.progress import SILENT, Progress


def restore_warehouse(
    ch: Client,
    target: Target,
    backup: Backup,
    database: str,
    scratch: str,
    *,
    check_files: bool,
    progress: Progress = SILENT,
) -> list[str]:
    """Restore all tables as `scratch`; returns what is wrong with it, nothing when all is well."""
    location = target.location(backup.backup_id)
    _begin(backup.warehouse, progress)
    try:
        warehouse.restore_database(ch, database, location, scratch, progress)
    except ClickHouseError as error:
        return [f"ClickHouse can't restore {backup.backup_id}: {short(error)}"]
    return warehouse_differences(
        ch, scratch, backup.warehouse, check_files=check_files, progress=progress
    )


def restore_tables(
    ch: Client,
    target: Target,
    backup: Backup,
    database: str,
    scratch: str,
    tables: dict[str, tuple[str, ...]],
    progress: Progress = SILENT,
) -> list[str]:
    """Restore tables, or the partitions that are named with one; returns what is wrong."""
    wanted = {}
    for table, partitions in tables.items():
        held = backup.warehouse.get(table, {})
        chosen = [name for name in partitions if name in held]
        wanted[table] = {name: held[name] for name in (chosen if partitions else held)}
        if partitions and not chosen:
            return [f"{backup.backup_id} has none of the partitions {', '.join(partitions)}"]
    location = target.location(backup.backup_id)
    _begin(wanted, progress)
    for table, partitions in tables.items():
        chosen = list(wanted[table]) if partitions else []
        try:
            warehouse.restore_table(ch, database, table, location, scratch, chosen, progress)
        except ClickHouseError as error:
            return [f"ClickHouse can't restore {table} of {backup.backup_id}: {short(error)}"]
    return warehouse_differences(ch, scratch, wanted, check_files=False, progress=progress)


def restore_platform(
    url: str, target: Target, backup: Backup, scratch: str, progress: Progress = SILENT
) -> list[str]:
    """Restore the dump as the database `scratch`; returns what is wrong with it."""
    progress.step("restoring and comparing Postgres")
    dump = backup.platform
    if dump is None:
        return [f"{backup.backup_id} has no dump of Postgres"]
    with tempfile.TemporaryDirectory(prefix="analytics-restore-") as folder:
        file = Path(folder) / "postgres.dump"
        try:
            target.read_dump(backup.backup_id, file)
            if file.stat().st_size != dump.bytes:
                return [f"postgres.dump has {file.stat().st_size} bytes instead of {dump.bytes}"]
            if platform.sha256(file) != dump.sha256:
                return ["postgres.dump has another checksum than in the catalogue"]
            platform.restore(url, scratch, file)
        except (TargetError, PlatformError) as error:
            return [short(error)]
    restored = platform.read_database(platform.with_database(url, scratch))
    return differences("postgres", dump.tables, restored)


def _begin(wanted: Warehouse, progress: Progress) -> None:
    size = sum(one.bytes for partitions in wanted.values() for one in partitions.values())
    progress.step("restoring ClickHouse", size, "bytes")
