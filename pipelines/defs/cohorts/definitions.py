"""Contents of the cohort flow."""

import dagster as dg

from pipelines.defs.cohorts.assets import platform_tables, platform_user_cohorts, warehouse_cohorts
from pipelines.defs.cohorts.checks import every_filter_is_valid, rows_match_postgres
from pipelines.defs.cohorts.repair import repair_parity_job
from pipelines.defs.cohorts.resync import resynced_companies
from pipelines.defs.cohorts.triggers import (
    cohort_changes_sensor,
    evaluate_memberships_job,
    resync_companies_job,
    sync_cohorts_job,
    sync_cohorts_schedule,
)

flow = dg.Definitions(
    assets=[*platform_tables, platform_user_cohorts, warehouse_cohorts, resynced_companies],
    asset_checks=[every_filter_is_valid, rows_match_postgres],
    jobs=[
        sync_cohorts_job,
        evaluate_memberships_job,
        resync_companies_job,
        repair_parity_job,
    ],
    schedules=[sync_cohorts_schedule],
    sensors=[cohort_changes_sensor],
)
