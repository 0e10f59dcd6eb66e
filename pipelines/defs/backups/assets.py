"""`backups` and `restore_drills`: what was taken, and what a restore of it brought back."""

import time
from datetime import timedelta
from enum import Enum

import dagster as dg
from pydantic import Field

from pipelines.databases import Databases
from pipelines.defs.backups.backup import take_and_prune, take_backup
from pipelines.defs.backups.drill import run_drill
from pipelines.defs.backups.record import Backup, Drill, Figures, Kind
from pipelines.runbook import when_it_fails
from pipelines.transient import repeated_if_transient

GROUP = "backups"
OWNERS = ["team:analytics"]
# One at a time, whoever started it: dagster.yaml limits every pool to one run.
POOL = "backups"
# A statement of theirs may read or write the whole warehouse.
STATEMENT_SECONDS = 6 * 3600
CHECK = "the_newest_backup_restores"
SHOWN_REASONS = 20


class BackupKind(Enum):
    """What to take."""

    full = "full"
    incremental = "incremental"


class BackupConfig(dg.Config):
    kind: BackupKind = Field(
        default=BackupKind.incremental,
        description="full stands alone; incremental holds what changed since the newest backup, "
        "and becomes a full one where there is none that can be trusted.",
    )
    prune: bool = Field(
        default=True,
        description="Then remove what BACKUP_KEEP_DAYS lets go. Never the base of a backup that is "
        "kept, never the one that a drill proved last.",
    )


class DrillConfig(dg.Config):
    backup_id: str = Field(default="", description="Which backup; empty for the newest one.")


@dg.asset(
    name="backups",
    deps=[
        *("events", "cohorts", "user_cohorts", "reconciliations"),
        dg.AssetKey(["platform", "user_cohorts"]),
    ],
    description="Backups of both databases in BACKUP_TARGET, each with a manifest beside it, and "
    "their catalogue in the table backups of Postgres: rows and fingerprint of each table, read "
    "from the backup itself.",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"clickhouse", "postgres"},
    metadata={
        "dagster/table_name": "teei_platform.public.backups",
        **when_it_fails("runbook/backups.md#a-backup-failed"),
    },
    freshness_policy=dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=49), warn_window=timedelta(hours=26)
    ),
    pool=POOL,
)
def backups(
    context: dg.AssetExecutionContext,
    config: BackupConfig,
    databases: dg.ResourceParam[Databases],
) -> dg.MaterializeResult[None]:
    settings = databases.settings
    with (
        repeated_if_transient(),
        databases.postgres() as pg,
        databases.clickhouse(timeout_seconds=STATEMENT_SECONDS) as ch,
    ):
        kind, now = Kind(config.kind.value), databases.now()
        if config.prune:
            backup, gone = take_and_prune(pg, ch, settings, kind, now)
        else:
            backup, gone = take_backup(pg, ch, settings, kind, now), []
    if config.kind is BackupKind.incremental and backup.kind is Kind.FULL:
        context.log.warning("there was no backup to be trusted as a base: this one is full")
    seconds = backup.duration_seconds or 0.0
    return dg.MaterializeResult(
        metadata={
            "backup_id": backup.backup_id,
            "kind": str(backup.kind),
            "base": backup.base_id or "none",
            "location": backup.location,
            "rows": backup.rows,
            "bytes": backup.bytes,
            "duration_seconds": seconds,
            "bytes_per_second": round(backup.bytes / seconds) if seconds else 0,
            "pruned": len(gone),
            "pruned_ids": [one.backup_id for one in gone],
            "tables": dg.MetadataValue.md(figures_table(backup)),
        }
    )


@dg.asset(
    name="restore_drills",
    deps=[backups],
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset="restore_drills",
            description="The newest backup, restored into scratch databases, has the rows and "
            "fingerprints that the catalogue says, and all its files fit their checksums.",
            blocking=True,
        )
    ],
    description="The newest backup restored beside, compared and dropped. rto_seconds is how long "
    "it took, rpo_seconds how old the backup was: what a disaster at that moment would have cost.",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"clickhouse", "postgres"},
    metadata=when_it_fails("runbook/backups.md#the-newest-backup-does-not-restore"),
    pool=POOL,
)
def restore_drills(
    config: DrillConfig, databases: dg.ResourceParam[Databases]
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # beside checks Dagster knows the bare type only
    began = time.monotonic()
    with (
        repeated_if_transient(),
        databases.postgres() as pg,
        databases.clickhouse(timeout_seconds=STATEMENT_SECONDS) as ch,
    ):
        backup = run_drill(pg, ch, databases.settings, databases.now(), config.backup_id or None)
    assert backup.drill is not None  # noqa: S101  # run_drill returns none without
    drill = backup.drill
    return dg.MaterializeResult(
        metadata={
            "backup_id": backup.backup_id,
            "rto_seconds": drill.rto_seconds,
            "rpo_seconds": drill.rpo_seconds,
            "rows": backup.rows,
            "duration_seconds": round(time.monotonic() - began, 3),
        },
        check_results=[judge(backup, drill)],
    )


def judge(backup: Backup, drill: Drill) -> dg.AssetCheckResult:
    """The check's outcome, with what was wrong by name."""
    shown = list(drill.reasons[:SHOWN_REASONS])
    said = "restored whole" if drill.passed else "; ".join(shown)
    return dg.AssetCheckResult(
        check_name=CHECK,
        passed=drill.passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{backup.backup_id}: {said}",
        metadata={
            "reasons": shown,
            "rto_seconds": drill.rto_seconds,
            "rpo_seconds": drill.rpo_seconds,
        },
    )


def figures_table(backup: Backup) -> str:
    """Markdown, a line a table of both databases."""
    lines = ["| table | rows | fingerprint |", "|---|---|---|"]
    platform = backup.platform.tables if backup.platform else {}
    both: list[tuple[str, Figures]] = [
        *((f"clickhouse {name}", one) for name, one in sorted(backup.table_figures().items())),
        *((f"postgres {name}", one) for name, one in sorted(platform.items())),
    ]
    lines += [f"| {name} | {one.rows} | {one.hash} |" for name, one in both]
    return "\n".join(lines)
