"""Contents of the backups' flow."""

import dagster as dg

from pipelines.defs.backups.assets import backups, restore_drills
from pipelines.defs.backups.restored_events import restored_events
from pipelines.warehouse_schedule import warehouse_schedule

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


flow = dg.Definitions(
    assets=[backups, restore_drills, restored_events],
    jobs=[incremental_job, full_job, drill_job, restore_events_job],
    schedules=[
        warehouse_schedule(
            "back_up_incremental_daily",
            incremental_job,
            "0 2 * * 1-6",
            "Every night but Sunday's: what changed since the night before.",
        ),
        warehouse_schedule("back_up_full_weekly", full_job, "0 2 * * 0", "On Sunday everything."),
        warehouse_schedule(
            "drill_restore_weekly",
            drill_job,
            "0 5 * * 0",
            "On Sunday, when the full backup is done: whether it can be restored.",
        ),
    ],
)
