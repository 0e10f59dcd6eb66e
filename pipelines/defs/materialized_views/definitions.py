"""Contents of the materialised views' flow."""

import dagster as dg

from pipelines.defs.materialized_views import assets

# One run for all four, in one process: a failing view leaves the others refreshed.
refresh_job = dg.define_asset_job(
    "refresh_materialized_views",
    selection=dg.AssetSelection.assets(*assets.VIEWS),
    description="Refresh every materialised view of Postgres, one by one.",
    tags={"dagster/max_runtime": "1800"},
)

refresh_schedule = dg.ScheduleDefinition(
    name="refresh_materialized_views_every_five_minutes",
    job=refresh_job,
    cron_schedule="*/5 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Keeps the dashboards of Postgres at most five minutes old.",
)

flow = dg.Definitions(
    assets=[*assets.source_tables, *assets.materialized_views],
    jobs=[refresh_job],
    schedules=[refresh_schedule],
)
