"""Contents of the flow that keeps Dagster's own storage small."""

from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from pipelines.defs.instance.run_history import delete_runs, find_old_runs


class PurgeConfig(dg.Config):
    keep_days: int = Field(default=14, ge=1, description="Runs younger than this are kept.")
    keep_partitioned_days: int = Field(
        default=120,
        ge=1,
        description="The same for runs of partitions: with its run a day or an hour loses its "
        "state in the UI. Events are kept 90 days by default.",
    )
    dry_run: bool = Field(default=False, description="Only count them.")


@dg.op(
    description="Count the ended runs that are too old, and delete them with their events.",
    pool="instance",
)
def old_runs(context: dg.OpExecutionContext, config: PurgeConfig) -> None:
    found = find_old_runs(
        context.instance,
        datetime.now(UTC),
        timedelta(days=config.keep_days),
        timedelta(days=max(config.keep_days, config.keep_partitioned_days)),
    )
    deleted = 0 if config.dry_run else delete_runs(context.instance, found)
    context.log.info(f"{len(found.old)} of {found.examined} old runs may go; deleted {deleted}")
    context.add_output_metadata(
        {"examined": found.examined, "old": len(found.old), "deleted": deleted}
    )


@dg.job(
    name="purge_old_runs",
    description="Delete old runs with their events from Dagster's storage: with a run every five "
    "minutes it grows by 2 million events a quarter. Ticks go by dagster.yaml.",
    tags={"dagster/max_runtime": "3600"},
)
def purge_old_runs() -> None:
    old_runs()


purge_schedule = dg.ScheduleDefinition(
    name="purge_old_runs_daily",
    job=purge_old_runs,
    cron_schedule="41 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night.",
)

flow = dg.Definitions(jobs=[purge_old_runs], schedules=[purge_schedule])
