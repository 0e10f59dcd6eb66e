"""Contents of the retention flow."""

import dagster as dg

from pipelines.defs.retention.assets import erasures, partition_actions, retention_plan
from pipelines.defs.retention.checks import (
    no_table_deletes_by_itself,
    streams_keep_what_the_policy_says,
)
from pipelines.warehouse_schedule import warehouse_schedule

# Days end at midnight UTC; what is over by then goes in the hour with the least traffic of most.
CRON = "35 2 * * *"
ERASURES_CRON = "50 3 * * *"
LOOK_BACK_DAYS = 35
RUNTIME = {"dagster/max_runtime": "14400"}

plan_job = dg.define_asset_job(
    "plan_retention",
    selection=dg.AssetSelection.assets(retention_plan),
    description="Show what is due by retention_policies: rows, bytes, reasons. Changes nothing.",
    tags=RUNTIME,
)

retention_job = dg.define_asset_job(
    "retention",
    selection=dg.AssetSelection.assets(retention_plan, partition_actions),
    description="Drop, delete and merge what is due. By hand it is a dry run; set dry_run false.",
    tags=RUNTIME,
)

erasure_job = dg.define_asset_job(
    "erasure",
    selection=dg.AssetSelection.assets(erasures),
    description="Erase a user or a company from every store. By hand it counts only; set dry_run "
    "false. Without a company it looks whether anything is left of earlier ones.",
    tags=RUNTIME,
)

reapply_job = dg.define_asset_job(
    "reapply_erasures",
    selection=dg.AssetSelection.assets(erasures),
    config={"ops": {"erasures": {"config": {"reapply": True}}}},
    description="Apply the ledger of erasures to what is there now; after every restore.",
    tags=RUNTIME,
)


retention_schedule = warehouse_schedule(
    "retention_daily",
    retention_job,
    CRON,
    "Does what the day's plan says.",
    {"ops": {"partition_actions": {"config": {"dry_run": False}}}},
)

verify_erasures_schedule = warehouse_schedule(
    "verify_erasures_daily",
    erasure_job,
    ERASURES_CRON,
    "Looks through all stores for what was erased in the last 35 days; whatever brings back older "
    "data is a restore, which applies the whole ledger.",
    {"ops": {"erasures": {"config": {"look_back_days": LOOK_BACK_DAYS}}}},
)

flow = dg.Definitions(
    assets=[retention_plan, partition_actions, erasures],
    asset_checks=[no_table_deletes_by_itself, streams_keep_what_the_policy_says],
    jobs=[plan_job, retention_job, erasure_job, reapply_job],
    schedules=[retention_schedule, verify_erasures_schedule],
)
