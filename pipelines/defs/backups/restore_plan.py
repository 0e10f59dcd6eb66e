"""What a restore would do, decided and shown before anything is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

import psycopg
from clickhouse_connect.driver.client import Client

from config import Settings
from config.names import TABLE_DEAD_LETTERS, TABLE_EVENTS, TABLE_METRICS
from pipelines.defs.backups import catalogue, platform, warehouse
from pipelines.defs.backups.chains import NoBackupError, chain, newest
from pipelines.defs.backups.record import Backup, Figures
from pipelines.defs.backups.target import open_target
from sql import SQL_FOLDER
from sql.migrations import read_migrations

Half = Literal["clickhouse", "postgres"]


class RestoreRefusedError(RuntimeError):
    """What was asked for can't be restored; nothing was changed. One line."""


@dataclass(frozen=True)
class RestorePlan:
    """`database` and `platform_database` are written to, None where that half is left alone.

    `tables` is empty for the whole warehouse; else table → ids of partitions, none for all of them.
    `beside` is true where new databases are made and what is in use stays as it is.
    """

    backup: Backup
    links: tuple[Backup, ...]
    database: str | None
    platform_database: str | None
    tables: dict[str, tuple[str, ...]]
    beside: bool

    @property
    def replaced(self) -> tuple[str, ...]:
        """Tables in use that are exchanged, so that what was written to them since is lost."""
        if self.database is None or self.beside:
            return ()
        if not self.tables:
            return tuple(self.backup.warehouse)
        return tuple(name for name, partitions in self.tables.items() if not partitions)

    @property
    def replaces_events(self) -> bool:
        """Whether one of them is made from the stream."""
        return not {TABLE_EVENTS, TABLE_METRICS, TABLE_DEAD_LETTERS}.isdisjoint(self.replaced)

    def lines(self, now: datetime) -> list[str]:
        """The plan for people, a step a line."""
        backup, figures = self.backup, self.backup.table_figures()
        age = now - backup.started_at
        lines = [
            f"backup     {backup.backup_id} of {backup.started_at:%Y-%m-%d %H:%M:%S} UTC, "
            f"{_age(age.total_seconds())} old, {_trust(backup)}",
            f"reads      {', '.join(one.backup_id for one in self.links)}",
        ]
        if self.database is not None:
            verb = "creates" if self.beside else "replaces"
            if not self.tables:
                total = Figures.sum(figures.values()).rows
                lines.append(
                    f"{verb:<11}ClickHouse database {self.database}: {len(figures)} tables, "
                    f"{total} rows"
                )
            for table, partitions in self.tables.items():
                if partitions:
                    held = self.backup.warehouse[table]
                    rows = sum(held[name].figures.rows for name in partitions)
                    lines.append(
                        f"adds       to {self.database}.{table} the days {_days(partitions)}: "
                        f"{rows} rows; those that are there already are replaced by their key"
                    )
                else:
                    rows = figures[table].rows
                    lines.append(f"{verb:<11}table {self.database}.{table}: {rows} rows")
        if self.platform_database is not None and backup.platform is not None:
            verb = "creates" if self.beside else "replaces"
            rows = Figures.sum(backup.platform.tables.values()).rows
            lines.append(
                f"{verb:<11}Postgres database {self.platform_database}: "
                f"{len(backup.platform.tables)} tables, {rows} rows"
            )
        if self.replaced or (self.platform_database is not None and not self.beside):
            lines.append("loses      what was written there since")
        if self.replaces_events:
            lines.append("last       events that the stream still has are written again")
        lines.append(
            "first      restored and compared beside; a failure leaves everything as it is"
        )
        return lines


def make_plan(
    pg: psycopg.Connection,
    ch: Client,
    settings: Settings,
    *,
    to: datetime | None = None,
    backup_id: str | None = None,
    database: str | None = None,
    tables: Sequence[str] = (),
    days: Sequence[date] = (),
    only: Half | None = None,
) -> RestorePlan:
    """Choose the backup and check that it can be restored as asked.

    The default is the newest backup that no drill found damaged, both databases, in place.

    Raises:
        RestoreRefusedError: with the reason and what to do.
    """
    target = open_target(settings, ch)
    with catalogue.opened(pg, target, settings.clickhouse_database) as opened:
        known = opened.backups
    if backup_id is None:
        found = newest(known, at=to)
        if found is None:
            when = f" up to {to:%Y-%m-%d %H:%M:%S}" if to else ""
            raise RestoreRefusedError(f"{target.name} has no trusted backup{when}")
        backup_id = found.backup_id
    try:
        links = chain(known, backup_id)
    except NoBackupError as error:
        raise RestoreRefusedError(str(error)) from None
    backup = links[-1]
    _refuse_unknown_migrations(backup)
    chosen = _choose_tables(backup, tables, days)
    beside = database is not None and database != settings.clickhouse_database
    here = platform.database_of(settings.database_url.get_secret_value())
    into = database if beside else settings.clickhouse_database
    into_platform = database if beside else here
    plan = RestorePlan(
        backup=backup,
        links=tuple(links),
        database=None if only == "postgres" else into,
        platform_database=None if only == "clickhouse" or chosen else into_platform,
        tables=chosen,
        beside=beside,
    )
    if only == "postgres" and chosen:
        raise RestoreRefusedError("tables and days are ClickHouse's; leave --only postgres out")
    if beside:
        _refuse_existing(ch, settings, plan)
    return plan


def _choose_tables(
    backup: Backup, tables: Sequence[str], days: Sequence[date]
) -> dict[str, tuple[str, ...]]:
    names = list(tables) or ([TABLE_EVENTS] if days else [])
    for table in names:
        if table not in backup.warehouse:
            known = ", ".join(sorted(backup.warehouse))
            raise RestoreRefusedError(f"{backup.backup_id} has no table {table}; it has {known}")
    if not days:
        return dict.fromkeys(names, ())
    if names != [TABLE_EVENTS]:
        raise RestoreRefusedError(f"days are partitions of {TABLE_EVENTS} only")
    partitions = tuple(sorted({f"{day:%Y%m%d}" for day in days}))
    held = backup.warehouse[TABLE_EVENTS]
    if missing := [one for one in partitions if one not in held]:
        raise RestoreRefusedError(f"{backup.backup_id} has no events of {_days(missing)}")
    return {TABLE_EVENTS: partitions}


def _days(partitions: Iterable[str]) -> str:
    """Ids of daily partitions as people write days."""
    return ", ".join(f"{date.fromisoformat(one)}" for one in partitions)


def _refuse_unknown_migrations(backup: Backup) -> None:
    for server, applied in (
        ("clickhouse", backup.clickhouse_migrations),
        ("postgres", backup.postgres_migrations),
    ):
        known = {one.name for one in read_migrations(SQL_FOLDER / server / "migrations")}
        if unknown := sorted(set(applied) - known):
            raise RestoreRefusedError(
                f"{backup.backup_id} is of a later version ({server} {unknown[-1]}); run that one"
            )


def _refuse_existing(ch: Client, settings: Settings, plan: RestorePlan) -> None:
    if plan.database and warehouse.database_exists(ch, plan.database):
        raise RestoreRefusedError(
            f"ClickHouse has a database {plan.database} already; drop it or choose another name"
        )
    url = settings.database_url.get_secret_value()
    if plan.platform_database and platform.exists(url, plan.platform_database):
        raise RestoreRefusedError(
            f"Postgres has a database {plan.platform_database} already; drop it, choose another "
            "name, or restore --only clickhouse"
        )


def _trust(backup: Backup) -> str:
    if backup.drill is None:
        return "not drilled yet"
    when = f"{backup.drill.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if backup.drill.passed:
        return f"proven by the drill of {when}, which took {backup.drill.rto_seconds:.1f} s"
    return f"DAMAGED by the drill of {when}"


def _age(seconds: float) -> str:
    hours, rest = divmod(max(0, int(seconds)), 3600)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {rest // 60} min"
