"""Contents of the backups' flow."""

import dagster as dg

from pipelines.databases import Databases
from pipelines.defs.backups.assets import backups, restore_drills
from pipelines.defs.backups.restored_events import restored_events

TAGS = {"dagster/max_runtime": str(6 * 3600)}

incremental_job = dg.define_asset_job(
    "back_up_incremental",
    selection=dg.AssetSelection.assets(backups),
    config={"ops": {"backups": {"config": {"kind": "incremental"}}}},
    description="Back up what changed since the newest backup, and remove old ones.",
    tags=TAGS,
)

full_job = dg.define_asset_job(
    "back_up_full",
    selection=dg.AssetSelection.assets(backups),
    config={"ops": {"backups": {"config": {"kind": "full"}}}},
    description="Back up everything, and remove old backups.",
    tags=TAGS,
)

drill_job = dg.define_asset_job(
    "drill_restore",
    selection=dg.AssetSelection.assets(restore_drills),
    description="Restore the newest backup into scratch databases, compare, drop them.",
    tags=TAGS,
)

restore_events_job = dg.define_asset_job(
    "restore_events",
    selection=dg.AssetSelection.assets(restored_events),
    description="Bring chosen days of events back from a backup, beside newer rows. It shows the "
    "plan; set dry_run false to do it.",
    tags=TAGS,
)


def schedule(name: str, job: object, cron: str, description: str) -> dg.ScheduleDefinition:
    """A schedule in UTC that skips where there is no warehouse."""

    @dg.schedule(
        name=name,
        job=job,  # type: ignore[arg-type]  # a job by name or any of its kinds
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )
    def tick(databases: dg.ResourceParam[Databases]) -> dg.RunRequest | dg.SkipReason:
        if not databases.warehouse_enabled:
            return dg.SkipReason("CLICKHOUSE_ENABLED is false")
        return dg.RunRequest()

    return tick


flow = dg.Definitions(
    assets=[backups, restore_drills, restored_events],
    jobs=[incremental_job, full_job, drill_job, restore_events_job],
    schedules=[
        schedule(
            "back_up_incremental_daily",
            incremental_job,
            "0 2 * * 1-6",
            "Every night but Sunday's: what changed since the night before.",
        ),
        schedule("back_up_full_weekly", full_job, "0 2 * * 0", "On Sunday everything."),
        schedule(
            "drill_restore_weekly",
            drill_job,
            "0 5 * * 0",
            "On Sunday, when the full backup is done: whether it can be restored.",
        ),
    ],
)
