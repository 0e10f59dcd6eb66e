"""Contents of the reconciliation flow."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from pipelines.databases import Databases
from pipelines.defs.reconciliation.assets import HOURS, reconciliations
from pipelines.defs.reconciliation.results import due_hours, read_states

# The sink stores within its batch timeout (10 s by default); five minutes are far beyond it.
CRON = "5 * * * *"
# How far back hours that were left open are looked for: the replay window by default.
LOOK_BACK = timedelta(hours=22)

reconcile_job = dg.define_asset_job(
    "reconcile_events",
    selection=dg.AssetSelection.assets(reconciliations),
    description="Compare an hour of the stream with what is stored of it.",
    tags={"dagster/max_runtime": "3000"},
)

# The same step, told to write what is missing before it compares: one place knows what is missing.
repair_job = dg.define_asset_job(
    "repair_missing_events",
    selection=dg.AssetSelection.assets(reconciliations),
    config={"ops": {"reconciliations": {"config": {"repair": True}}}},
    description="Read the missing events of an hour from the stream again, store them, compare.",
    tags={"dagster/max_runtime": "3000"},
)


@dg.schedule(
    name="reconcile_events_hourly",
    job=reconcile_job,
    cron_schedule=CRON,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="The hour just closed, and earlier ones that were left open.",
)
def reconcile_schedule(
    context: dg.ScheduleEvaluationContext, databases: dg.ResourceParam[Databases]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    if not databases.warehouse_enabled:
        yield dg.SkipReason("CLICKHOUSE_ENABLED is false")
        return
    now = context.scheduled_execution_time
    closed = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    with databases.clickhouse() as ch:
        states = read_states(ch, now - LOOK_BACK)
    for hour in due_hours(states, closed):
        key = hour.strftime(HOURS.fmt)
        yield dg.RunRequest(partition_key=key, run_key=f"{key} at {now.isoformat()}")


flow = dg.Definitions(
    assets=[reconciliations], jobs=[reconcile_job, repair_job], schedules=[reconcile_schedule]
)
