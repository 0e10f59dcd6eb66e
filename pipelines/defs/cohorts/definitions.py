"""Contents of the cohort flow."""

import dagster as dg

from pipelines.defs.cohorts.assets import platform_tables, platform_user_cohorts, warehouse_cohorts
from pipelines.defs.cohorts.checks import company_counts_match, every_filter_is_valid
from pipelines.defs.cohorts.triggers import (
    cohort_changes_sensor,
    evaluate_memberships_job,
    repair_parity_job,
    resync_companies_job,
    sync_cohorts_job,
    sync_cohorts_schedule,
)

flow = dg.Definitions(
    assets=[*platform_tables, platform_user_cohorts, warehouse_cohorts],
    asset_checks=[every_filter_is_valid, company_counts_match],
    jobs=[
        sync_cohorts_job,
        evaluate_memberships_job,
        resync_companies_job,
        repair_parity_job,
    ],
    schedules=[sync_cohorts_schedule],
    sensors=[cohort_changes_sensor],
)
