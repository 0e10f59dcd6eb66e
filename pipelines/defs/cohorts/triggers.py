"""When the cohort flow runs: seconds after a change, and every ten minutes in any case."""

import time

import dagster as dg

from pipelines.databases import Databases
from pipelines.defs.cohorts import change_log
from pipelines.defs.cohorts.assets import COHORTS, PLATFORM_USER_COHORTS, USER_COHORTS
from pipelines.defs.cohorts.checks import every_filter_is_valid
from pipelines.defs.cohorts.resync import RESYNCED_COMPANIES

SENSOR_SECONDS = 5
# A run that failed, or left the same change untaken, is not repeated sooner: each costs 4 s of CPU.
RETRY_SECONDS = 30
MAX_RUN_SECONDS = 900
HEAD_TAG = "cohorts/head"

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

# Evaluation and sync are one job: starting a process costs 4 s, both together 0.1 s when little
# has changed, and the sync takes the evaluator's rows along.
sync_cohorts_job = dg.define_asset_job(
    "sync_cohorts",
    selection=dg.AssetSelection.assets(PLATFORM_USER_COHORTS, COHORTS, USER_COHORTS),
    description="Evaluate filters, bring cohorts and memberships to ClickHouse, compare all rows.",
    tags={"dagster/max_runtime": str(MAX_RUN_SECONDS)},
)

# What an operator starts by hand; each is the flow's own step with another config, in its pool.
evaluate_memberships_job = dg.define_asset_job(
    "evaluate_memberships",
    selection=dg.AssetSelection.assets(PLATFORM_USER_COHORTS),
    config={"ops": {PLATFORM_USER_COHORTS.to_python_identifier(): {"config": {"every": True}}}},
    description="Evaluate the filters of every cohort anew, not only of those that the change log "
    "names. The next sync brings the differences to ClickHouse.",
    tags={"dagster/max_runtime": str(MAX_RUN_SECONDS)},
)

resync_companies_job = dg.define_asset_job(
    "resync_companies",
    selection=dg.AssetSelection.assets(RESYNCED_COMPANIES),
    description="Compare all cohorts and members of chosen companies with ClickHouse and write "
    "what differs. All companies: all partitions.",
    tags={"dagster/max_runtime": "7200"},
)

# The net under the sensor: it finds what no change announces, an emptied ClickHouse for one, and
# compares all rows, which the sensor's runs leave out.
sync_cohorts_schedule = dg.ScheduleDefinition(
    name="sync_cohorts_every_ten_minutes",
    job=sync_cohorts_job,
    cron_schedule="*/10 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Safety net under cohort_changes_sensor, with the comparison of all rows.",
)


@dg.sensor(
    name="cohort_changes_sensor",
    job=sync_cohorts_job,
    minimum_interval_seconds=SENSOR_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts sync_cohorts when the change log holds a change that is not in ClickHouse "
    "yet. One query on an index decides; without changes no run is started.",
)
def cohort_changes_sensor(
    context: dg.SensorEvaluationContext, databases: dg.ResourceParam[Databases]
) -> dg.RunRequest | dg.SkipReason:
    if not databases.warehouse_enabled:
        return dg.SkipReason("CLICKHOUSE_ENABLED is false")
    with databases.postgres() as pg:
        head = change_log.pending_head(pg)
    if head is None:
        return dg.SkipReason("no changes since the last sync")
    records = context.instance.get_run_records(
        dg.RunsFilter(job_name=sync_cohorts_job.name), limit=1
    )
    if records:
        last, ended = records[0].dagster_run, records[0].end_time
        if last.status in UNFINISHED:
            return dg.SkipReason(f"run {last.run_id} is under way")
        repeats = last.is_failure or last.tags.get(HEAD_TAG) == str(head)
        if repeats and ended is not None and time.time() - ended < RETRY_SECONDS:
            return dg.SkipReason(f"run {last.run_id} left this change; waiting before the next")
    # Without comparing all rows: at a million memberships that takes longer than the sync.
    return dg.RunRequest(
        tags={HEAD_TAG: str(head)},
        asset_selection=[PLATFORM_USER_COHORTS, COHORTS, USER_COHORTS],
        asset_check_keys=list(every_filter_is_valid.check_keys),
    )
