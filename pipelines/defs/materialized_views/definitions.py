"""Contents of the materialised views' flow."""

from datetime import UTC, datetime

import dagster as dg

from pipelines.databases import Databases
from pipelines.defs.materialized_views import assets
from pipelines.defs.materialized_views.cadence import due_views

# One run for all four, in one process: a failing view leaves the others refreshed.
refresh_job = dg.define_asset_job(
    "refresh_materialized_views",
    selection=dg.AssetSelection.assets(*assets.VIEWS),
    description="Refresh every materialised view of Postgres, one by one.",
    tags={"dagster/max_runtime": "1800"},
)


@dg.schedule(
    name="refresh_materialized_views_every_five_minutes",
    job=refresh_job,
    cron_schedule="*/5 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Refreshes the views that are due by their cadence and hours in analytics_mvs: as "
    "installed, all of them every five minutes.",
)
def refresh_schedule(
    context: dg.ScheduleEvaluationContext, databases: dg.ResourceParam[Databases]
) -> dg.RunRequest | dg.SkipReason:
    # A tick that is late asks for now: what was refreshed meanwhile is not due any more.
    with databases.postgres() as pg:
        due = due_views(pg, datetime.now(UTC))
    if not due:
        return dg.SkipReason("no view is due by its cadence and hours")
    return dg.RunRequest(
        run_key=context.scheduled_execution_time.isoformat(),
        asset_selection=[dg.AssetKey(view) for view in due],
    )


flow = dg.Definitions(
    assets=[*assets.source_tables, *assets.materialized_views],
    jobs=[refresh_job],
    schedules=[refresh_schedule],
)
