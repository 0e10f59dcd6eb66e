"""Contents of the partitions' flow."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from pipelines.defs.partitions.assets import event_stream, events, metrics_timeseries
from pipelines.defs.partitions.checks import checks

take_stock_job = dg.define_asset_job(
    "take_stock_of_events",
    selection=dg.AssetSelection.assets(events),
    description="Count a day of events and what it takes on disk.",
    tags={"dagster/max_runtime": "1800"},
)

rebuild_job = dg.define_asset_job(
    "rebuild_metrics",
    selection=dg.AssetSelection.assets(metrics_timeseries).without_checks(),
    description="Write the metric rows of chosen days again from their events.",
    tags={"dagster/max_runtime": "14400"},
)


@dg.schedule(
    name="take_stock_of_events_hourly",
    job=take_stock_job,
    cron_schedule="7 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Today's partition every hour, and yesterday's once more after it is closed.",
)
def take_stock_schedule(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    now = context.scheduled_execution_time
    days = [now - timedelta(days=1), now] if now.hour == 0 else [now]
    for day in days:
        key = day.date().isoformat()
        yield dg.RunRequest(partition_key=key, run_key=f"{key} at {now.isoformat()}")


flow = dg.Definitions(
    assets=[event_stream, events, metrics_timeseries],
    asset_checks=checks,
    jobs=[take_stock_job, rebuild_job],
    schedules=[take_stock_schedule],
)
