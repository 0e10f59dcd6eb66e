"""`resynced_companies`: companies whose rows were all compared and written where they differed."""

import time

import dagster as dg

from pipelines.databases import Databases
from pipelines.defs.cohorts.assets import (
    GROUP,
    OWNERS,
    PLATFORM_COHORTS,
    PLATFORM_USER_COHORTS,
    POOL,
)
from pipelines.defs.cohorts.partitions import COMPANIES
from pipelines.defs.cohorts.sync import sync_cohorts
from pipelines.runbook import when_it_fails
from pipelines.transient import repeated_if_transient

RESYNCED_COMPANIES = dg.AssetKey("resynced_companies")
# A run costs 4 s, a company some milliseconds; between two runs the sync takes its turn, and the
# backfill's page shows how far it is.
COMPANIES_A_RUN = 20


@dg.asset(
    key=RESYNCED_COMPANIES,
    deps=[PLATFORM_COHORTS, PLATFORM_USER_COHORTS],
    partitions_def=COMPANIES,
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=COMPANIES_A_RUN),
    description="Companies whose cohorts and memberships were brought to ClickHouse whole, "
    "whatever the change log says; only what differs is written, and the watermark stays. A "
    "backfill of one, some or all shows its progress. The sync keeps the partitions: a company is "
    "one while it has a cohort.",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres", "clickhouse"},
    metadata=when_it_fails("runbook/cohorts.md#parity-failed"),
    pool=POOL,
)
def resynced_companies(
    context: dg.AssetExecutionContext, databases: dg.ResourceParam[Databases]
) -> None:
    keys = context.partition_keys
    with repeated_if_transient(), databases.postgres() as pg, databases.clickhouse() as ch:
        for number, company in enumerate(keys, 1):
            began = time.monotonic()
            result = sync_cohorts(pg, ch, companies=[company])
            members = result.members_written + result.members_deleted
            cohorts = result.cohorts_written + result.cohorts_deleted
            context.log.info(
                f"{number} of {len(keys)}: {company}, {cohorts} cohorts and {members} memberships"
            )
            context.add_asset_metadata(
                {
                    "rows": cohorts + members,
                    "cohorts_written": result.cohorts_written,
                    "cohorts_deleted": result.cohorts_deleted,
                    "members_written": result.members_written,
                    "members_deleted": result.members_deleted,
                    "duration_seconds": round(time.monotonic() - began, 3),
                },
                partition_key=company,
            )
