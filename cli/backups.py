"""`analytics backup`, `backups` and `restore`: by the same functions that Dagster runs."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import psycopg
import typer
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from cli.migrate import run_migrations
from cli.progress import shown_progress
from cli.refusal import Refused
from cli.servers import connect_postgres, read_settings, refuse_clickhouse
from cli.table import text_table
from config import Settings
from pipelines.databases import Databases
from pipelines.defs.backups import catalogue
from pipelines.defs.backups.backup import prune, take_backup
from pipelines.defs.backups.catalogue import BackupsBusyError
from pipelines.defs.backups.chains import NoBackupError
from pipelines.defs.backups.drill import run_drill
from pipelines.defs.backups.platform import PlatformError
from pipelines.defs.backups.record import Backup, Kind
from pipelines.defs.backups.restore import restore as restore_by_plan
from pipelines.defs.backups.restore_plan import RestoreRefusedError, make_plan
from pipelines.defs.backups.target import TargetError, open_target
from sql.migrations import MigrationError

STATEMENT_SECONDS = 6 * 3600
MIB = 1 << 20

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]

app = typer.Typer(
    name="backups",
    help="Backups: list, drill, prune.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


class Half(StrEnum):
    """One of the two databases."""

    CLICKHOUSE = "clickhouse"
    POSTGRES = "postgres"


def backup(
    full: Annotated[bool, typer.Option("--full", help="Everything, without a base.")] = False,
    as_json: AsJson = False,
) -> None:
    """Back both databases up now. What changed since the newest backup, or everything."""
    kind = Kind.FULL if full else Kind.INCREMENTAL
    with _servers() as (settings, pg, ch), shown_progress(as_json=as_json) as progress:
        taken = take_backup(pg, ch, settings, kind, datetime.now(UTC), progress)
    if as_json:
        print(json.dumps(_as_object(taken)))
        return
    why = " (no backup to go by)" if kind is not taken.kind else ""
    print(
        f"{taken.backup_id}{why}: {taken.rows} rows, {taken.bytes / MIB:.1f} MiB, "
        f"{taken.duration_seconds:.1f} s, in {taken.target}"
    )


@app.callback()
def list_backups(context: typer.Context, as_json: AsJson = False) -> None:
    """Backups of both databases; without a command they are listed, the newest first."""
    if context.invoked_subcommand is None:
        _list(as_json)


@app.command("list")
def list_by_name(as_json: AsJson = False) -> None:
    """List the backups, the newest first."""
    _list(as_json)


def _list(as_json: bool) -> None:
    with (
        _servers() as (settings, pg, ch),
        catalogue.opened(pg, open_target(settings, ch), settings.clickhouse_database) as opened,
    ):
        known = opened.every[::-1]
    if as_json:
        print(json.dumps({"backups": [_as_object(one) for one in known]}))
        return
    if known:
        print(
            text_table(
                ("STARTED (UTC)", "STATE", "SIZE", "DRILL", "BACKUP", "ERROR"),
                [
                    (
                        *(f"{one.started_at.astimezone(UTC):%Y-%m-%d %H:%M}", str(one.state)),
                        *(f"{one.bytes / MIB:.1f} MiB", _drilled(one), one.backup_id),
                        (one.error or "")[:100],
                    )
                    for one in known
                ],
            )
        )
    else:
        print("no backups; take one with `analytics backup --full`")


@app.command()
def drill(
    backup_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Default: the newest.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove a backup: restore it into scratch databases and compare."""
    with _servers() as (settings, pg, ch), shown_progress(as_json=as_json) as progress:
        drilled = run_drill(pg, ch, settings, datetime.now(UTC), backup_id, progress)
    found = drilled.drill
    if found is None or not found.passed:
        raise Refused(f"{drilled.backup_id}: {'; '.join(found.reasons if found else ())}")
    if as_json:
        print(json.dumps(_as_object(drilled)))
        return
    print(f"{drilled.backup_id}: restored whole in {found.rto_seconds:.1f} s")


@app.command("prune")
def prune_backups(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; otherwise it is only said.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what BACKUP_KEEP_DAYS lets go. Chains and the proven backup are kept."""
    with _servers() as (settings, pg, ch):
        gone = prune(pg, ch, settings, datetime.now(UTC), dry_run=not yes)
    if as_json:
        print(json.dumps({"dryRun": not yes, "pruned": [one.backup_id for one in gone]}))
        return
    for one in gone:
        print(f"{'removed' if yes else 'would remove'} {one.backup_id}")
    if not gone:
        print("nothing to remove")


def restore(
    to: Annotated[
        datetime | None,
        typer.Option(
            metavar="TIME",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
            help="The newest backup up to this moment (UTC), e.g. 2026-11-01T12:00.",
        ),
    ] = None,
    backup_id: Annotated[str | None, typer.Option("--backup", help="This one.")] = None,
    database: Annotated[
        str | None, typer.Option(help="Make databases of this name and leave those in use.")
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE", help="Only this table of ClickHouse; can be given again."),
    ] = None,
    day: Annotated[
        list[datetime] | None,
        typer.Option(
            metavar="DAY",
            formats=["%Y-%m-%d"],
            help="Only this day of events, beside what is there; can be given again.",
        ),
    ] = None,
    only: Annotated[Half | None, typer.Option(help="Only one of the two databases.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask after the plan.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    as_json: AsJson = False,
) -> None:
    """Restore a backup. The plan is shown first; a failure leaves everything as it is."""
    days: list[date] = [one.date() for one in day or ()]
    now = datetime.now(UTC)
    with _servers(migrated=True) as (settings, pg, ch):
        half: Literal["clickhouse", "postgres"] | None = only.value if only else None
        plan = make_plan(
            pg,
            ch,
            settings,
            to=to.replace(tzinfo=UTC) if to else None,
            backup_id=backup_id,
            database=database,
            tables=table or (),
            days=days,
            only=half,
        )
        lines = plan.lines(now)
        if not as_json or dry_run:
            print(json.dumps({"plan": lines}) if as_json else "\n".join(lines))
        if dry_run:
            return
        if not yes and not typer.confirm("do this?", err=True):
            raise Refused("nothing was done")
        with shown_progress(as_json=as_json) as progress:
            done = restore_by_plan(ch, settings, plan, now, progress)
    if as_json:
        print(
            json.dumps(
                {
                    "plan": lines,
                    "backupId": done.backup_id,
                    "rows": done.rows,
                    "seconds": round(done.seconds, 3),
                    "notes": done.notes,
                }
            )
        )
        return
    print(f"restored {done.backup_id}: {done.rows} rows in {done.seconds:.1f} s")
    for note in done.notes:
        print(f"note: {note}", file=sys.stderr)


@contextlib.contextmanager
def _servers(*, migrated: bool = False) -> Iterator[tuple[Settings, psycopg.Connection, Client]]:
    """Settings and both servers; what goes wrong with a backup is refused in one line.

    `migrated` makes the schemas on a server that lost everything: it has neither the catalogue,
    which manifests are read into, nor the warehouse's database.
    """
    settings = read_settings()
    if not settings.clickhouse_enabled:
        raise Refused("CLICKHOUSE_ENABLED is false: there is no warehouse to back up or restore")
    try:
        if migrated:
            waiting = run_migrations(settings, dry_run=True).values()
            if any(one.version == 1 for migrations in waiting for one in migrations):
                run_migrations(settings, dry_run=False)
        with (
            connect_postgres(settings) as pg,
            Databases(lambda: settings).clickhouse(timeout_seconds=STATEMENT_SECONDS) as ch,
        ):
            yield settings, pg, ch
    except (
        *(BackupsBusyError, NoBackupError, RestoreRefusedError),
        *(TargetError, PlatformError, FileNotFoundError, MigrationError),
    ) as error:
        raise Refused(str(error)) from None
    except ClickHouseError as error:
        raise refuse_clickhouse(settings, error) from None


def _drilled(backup: Backup) -> str:
    if backup.drill is None:
        return "not drilled"
    return "proven" if backup.drill.passed else "DAMAGED"


def _as_object(backup: Backup) -> dict[str, Any]:
    """A backup without the figures of each partition."""
    figures: dict[str, Any] = {
        name: {"rows": one.rows, "hash": one.hash} for name, one in backup.table_figures().items()
    }
    platform: dict[str, Any] = (
        {name: {"rows": one.rows, "hash": one.hash} for name, one in backup.platform.tables.items()}
        if backup.platform
        else {}
    )
    return {
        "id": backup.backup_id,
        "kind": str(backup.kind),
        "baseId": backup.base_id,
        "target": backup.target,
        "state": backup.state,
        "startedAt": backup.started_at.isoformat(),
        "finishedAt": backup.finished_at and backup.finished_at.isoformat(),
        "bytes": backup.bytes,
        "seconds": backup.duration_seconds,
        "clickhouse": figures,
        "postgres": platform,
        "provenAt": backup.proven_at and backup.proven_at.isoformat(),
        "drill": backup.drill
        and {
            "passed": backup.drill.passed,
            "at": backup.drill.at.isoformat(),
            "rtoSeconds": backup.drill.rto_seconds,
            "rpoSeconds": backup.drill.rpo_seconds,
            "reasons": list(backup.drill.reasons),
        },
        "error": backup.error,
    }
