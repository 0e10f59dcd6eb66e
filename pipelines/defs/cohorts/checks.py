"""Checks of the cohort flow, each a sentence that can be false."""

from collections.abc import Iterator

import dagster as dg

from pipelines.databases import Databases
from pipelines.defs.cohorts.assets import COHORTS, PLATFORM_USER_COHORTS, POOL, USER_COHORTS
from pipelines.defs.cohorts.parity import compare_counts
from sql import statement

# What a check shows; all of them would make the page unreadable.
SHOWN_DIFFERENCES = 20


@dg.asset_check(
    asset=PLATFORM_USER_COHORTS,
    description="The filters of every cohort can be evaluated.",
    pool=POOL,
)
def every_filter_is_valid(databases: dg.ResourceParam[Databases]) -> dg.AssetCheckResult:
    with databases.postgres() as pg:
        failed = pg.execute(statement("postgres/select_cohort_filter_errors")).fetchall()
    return dg.AssetCheckResult(
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "cohorts": len(failed),
            "errors": [
                f"{name} of {company} ({cohort_id}): {error}"
                for cohort_id, company, name, error in failed[:SHOWN_DIFFERENCES]
            ],
        },
    )


@dg.multi_asset_check(
    name="company_counts_match",
    specs=[
        dg.AssetCheckSpec(
            "company_counts_match",
            asset=asset,
            description="Every company has as many rows here as in Postgres. Companies with "
            "changes that no sync has taken yet are left out.",
        )
        for asset in (COHORTS, USER_COHORTS)
    ],
    pool=POOL,
)
def company_counts_match(
    databases: dg.ResourceParam[Databases],
) -> Iterator[dg.AssetCheckResult]:
    with databases.postgres() as pg, databases.clickhouse() as ch:
        parity = compare_counts(pg, ch)
    for asset in (COHORTS, USER_COHORTS):
        found = [one for one in parity.differences if one.table == asset.path[-1]]
        yield dg.AssetCheckResult(
            asset_key=asset,
            check_name="company_counts_match",
            passed=not found,
            metadata={
                "companies": parity.companies,
                "pending_companies": parity.pending,
                "differing_companies": len(found),
                "differences": [
                    f"{one.company_id}: {one.postgres} in Postgres, {one.clickhouse} here"
                    for one in found[:SHOWN_DIFFERENCES]
                ],
            },
        )
