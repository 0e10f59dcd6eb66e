"""Restoring by a plan: everything beside first, then exchanged by name."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from clickhouse_connect.driver.client import Client

from config import Settings
from pipelines.defs.backups import catalogue, platform, warehouse
from pipelines.defs.backups.after_restore import bring_up_to_date, carry_over, erase_beside
from pipelines.defs.backups.restore_plan import RestorePlan, RestoreRefusedError
from pipelines.defs.backups.scratch import restore_platform, restore_tables, restore_warehouse
from pipelines.defs.backups.target import Target, open_target
from pipelines.defs.backups.verification import named
from pipelines.progress import SILENT, Progress
from sql import bridge, statement
from sql.migrations import ClickHouseMigrations, PostgresMigrations

ERASING_AGAIN = "applying the ledger of erasures"
BRINGING_UP_TO_DATE = "applying the ledger of erasures, writing again what the stream has"


@dataclass(frozen=True)
class Restored:
    """What was restored: rows of both databases, how long it took, what is left to do."""

    backup_id: str
    rows: int
    seconds: float
    notes: tuple[str, ...] = ()


def restore(
    ch: Client,
    settings: Settings,
    plan: RestorePlan,
    now: datetime,
    progress: Progress = SILENT,
) -> Restored:
    """Do what the plan says.

    Both halves are restored beside and compared with the catalogue before anything in use is
    touched. Then tables are exchanged one by one and the Postgres database as a whole; its sessions
    end and connect again. At last what is still in the stream is written again, so that nothing is
    lost that was stored into the old tables meanwhile.

    Raises:
        RestoreRefusedError: what the backup holds is not what was written; nothing was changed.
        BackupsBusyError: a backup, drill or other restore is under way.
    """
    began = time.monotonic()
    target = open_target(settings, ch)
    url = settings.database_url.get_secret_value()
    stamp = f"{now.astimezone(UTC):%Y%m%d%H%M%S}"
    warehouse_scratch = f"{plan.database}_restore_{stamp}"
    platform_scratch = f"{plan.platform_database}_restore_{stamp}"
    progress.begin(
        2 * (plan.database is not None)
        + (plan.platform_database is not None)
        + (1 if plan.beside else 2)
    )
    with contextlib.ExitStack() as cleaning:
        lock = cleaning.enter_context(psycopg.connect(url, autocommit=True))
        cleaning.enter_context(catalogue.backups_lock(lock))
        if plan.beside:
            rows = _beside(ch, url, target, plan, progress)
            progress.step(ERASING_AGAIN)
            erase_beside(lock, ch, url, plan.database, plan.platform_database)
            return Restored(plan.backup.backup_id, rows, time.monotonic() - began)
        rows = 0
        if plan.database is not None:
            cleaning.callback(warehouse.drop_database, ch, warehouse_scratch)
            rows += _prepare_warehouse(ch, settings, target, plan, warehouse_scratch, progress)
        if plan.platform_database is not None:
            cleaning.callback(platform.drop, url, platform_scratch)
            rows += _prepare_platform(lock, url, target, plan, platform_scratch, progress)
        progress.step("putting in place what was restored")
        if plan.database is not None:
            _take_warehouse(ch, plan, plan.database, warehouse_scratch)
        if plan.platform_database is not None:
            replaced = f"{plan.platform_database}_replaced_{stamp}"
            lock.close()  # its own session would be ended too
            platform.exchange(url, plan.platform_database, platform_scratch, replaced)
            cleaning.callback(platform.drop, url, replaced)
    if plan.database is not None:
        ClickHouseMigrations(ch, plan.database).apply()
        bridge.connect_postgres(ch, plan.database, url)
    with psycopg.connect(url, autocommit=True) as pg:
        progress.step(BRINGING_UP_TO_DATE)
        notes = bring_up_to_date(pg, ch, settings, events_replaced=plan.replaces_events)
    return Restored(plan.backup.backup_id, rows, time.monotonic() - began, tuple(notes))


def _beside(ch: Client, url: str, target: Target, plan: RestorePlan, progress: Progress) -> int:
    """New databases beside those in use; what was made of them goes when one can't be had."""
    rows = 0
    try:
        if plan.database is not None:
            rows += _fill_warehouse(ch, target, plan, plan.database, progress)
            for table in warehouse.tables(ch, plan.database):
                warehouse.count_mutations_anew(ch, plan.database, table)
                warehouse.start_merges(ch, plan.database, table)
        if plan.platform_database is not None:
            _raise_for(restore_platform(url, target, plan.backup, plan.platform_database, progress))
            rows += _platform_rows(plan)
    except BaseException:
        if plan.database is not None:
            warehouse.drop_database(ch, plan.database)
        if plan.platform_database is not None:
            platform.drop(url, plan.platform_database)
        raise
    return rows


def _prepare_warehouse(
    ch: Client,
    settings: Settings,
    target: Target,
    plan: RestorePlan,
    scratch: str,
    progress: Progress,
) -> int:
    # An empty server gets tables and views first; a later schema than the backup's stays.
    ClickHouseMigrations(ch, settings.clickhouse_database).apply()
    rows = _fill_warehouse(ch, target, plan, scratch, progress)
    if plan.tables:
        for table in plan.tables:
            _refuse_other_columns(ch, settings.clickhouse_database, scratch, table)
    else:
        # Refuses a history that is not this version's own, before anything is exchanged.
        ClickHouseMigrations(ch, scratch).pending()
    return rows


def _fill_warehouse(
    ch: Client, target: Target, plan: RestorePlan, database: str, progress: Progress
) -> int:
    """Restore what the plan names as `database`; returns its rows."""
    source = plan.backup.database
    held = plan.backup.warehouse
    if plan.tables:
        _raise_for(restore_tables(ch, target, plan.backup, source, database, plan.tables, progress))
        return sum(
            partition.figures.rows
            for table, chosen in plan.tables.items()
            for name, partition in held[table].items()
            if not chosen or name in chosen
        )
    _raise_for(
        restore_warehouse(
            *(ch, target, plan.backup, source, database), check_files=False, progress=progress
        )
    )
    return sum(one.rows for one in plan.backup.table_figures().values())


def _prepare_platform(
    pg: psycopg.Connection,
    url: str,
    target: Target,
    plan: RestorePlan,
    scratch: str,
    progress: Progress,
) -> int:
    _raise_for(restore_platform(url, target, plan.backup, scratch, progress))
    with psycopg.connect(platform.with_database(url, scratch), autocommit=True) as restored:
        migrations = PostgresMigrations(restored)
        with migrations.lock():
            migrations.apply()
        carry_over(pg, restored)
    return _platform_rows(plan)


def _take_warehouse(ch: Client, plan: RestorePlan, database: str, scratch: str) -> None:
    """Exchange the tables, or add the partitions, one by one. What was in use stands in `scratch`
    afterwards, and goes with it.
    """
    present = set(warehouse.tables(ch, database))
    for table in plan.tables or plan.backup.warehouse:
        names = {"database": database, "table": table, "scratch": scratch}
        warehouse.count_mutations_anew(ch, scratch, table)
        warehouse.start_merges(ch, scratch, table)
        if table not in present:
            ch.command(statement("clickhouse/rename_table"), parameters=names)
        elif partitions := plan.tables.get(table):
            for partition in partitions:
                warehouse.attach_partition(ch, database, table, scratch, partition)
        else:
            ch.command(statement("clickhouse/exchange_tables"), parameters=names)


def _refuse_other_columns(ch: Client, database: str, scratch: str, table: str) -> None:
    """A table of an older schema would not fit beside the others."""
    mine, restored = (
        ch.query(
            statement("clickhouse/select_columns"), parameters={"database": one, "table": table}
        ).result_rows
        for one in (database, scratch)
    )
    if mine and mine != restored:
        raise RestoreRefusedError(
            f"{table} has other columns than in the backup; restore it with --database OTHER and "
            "copy what you need"
        )


def _platform_rows(plan: RestorePlan) -> int:
    return (
        sum(one.rows for one in plan.backup.platform.tables.values()) if plan.backup.platform else 0
    )


def _raise_for(reasons: Sequence[str]) -> None:
    if reasons:
        raise RestoreRefusedError(f"nothing was changed: {named(reasons)}")
