"""Checks of the cohort flow, each a sentence that can be false."""

from collections.abc import Iterator, Mapping

import dagster as dg

from pipelines.databases import Databases
from pipelines.defs.cohorts.assets import COHORTS, PLATFORM_USER_COHORTS, POOL, USER_COHORTS
from pipelines.defs.cohorts.parity import SHOWN_DIFFERENCES, Parity, compare_rows
from sql import statement

ROWS_MATCH = "rows_match_postgres"


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
    name=ROWS_MATCH,
    specs=[
        dg.AssetCheckSpec(
            ROWS_MATCH,
            asset=asset,
            description="Every row is here as it is in Postgres, and no other: count and hash of "
            "each company or cohort on both sides, then its rows. Rows with changes that no sync "
            "has taken yet are left out. The job repair_cohort_parity writes what differs.",
        )
        for asset in (COHORTS, USER_COHORTS)
    ],
    pool=POOL,
)
def rows_match_postgres(
    context: dg.AssetCheckExecutionContext, databases: dg.ResourceParam[Databases]
) -> Iterator[dg.AssetCheckResult]:
    with databases.postgres() as pg, databases.clickhouse() as ch:
        parity = compare_rows(pg, ch)
    for asset in (COHORTS, USER_COHORTS):
        log_drift(context.op_execution_context, asset, parity)
        yield dg.AssetCheckResult(
            asset_key=asset,
            check_name=ROWS_MATCH,
            passed=not parity.tables[asset.path[-1]].differing,
            description=say(asset, parity),
            metadata=describe(asset, parity),
        )


def describe(asset: dg.AssetKey, parity: Parity) -> Mapping[str, int | list[str]]:
    """An asset's part of a comparison: figures, and some of the rows by name."""
    table = parity.tables[asset.path[-1]]
    return {
        "companies": parity.companies,
        "companies_differing": len(table.companies),
        "rows_compared": table.rows,
        "rows_differing": table.differing,
        "rows_missing": table.missing,
        "rows_extra": table.extra,
        "rows_changed": table.changed,
        "rows_pending": table.pending,
        "differences": table.shown,
    }


def say(asset: dg.AssetKey, parity: Parity) -> str | None:
    """What an alert says of it; None when nothing differs."""
    table = parity.tables[asset.path[-1]]
    if not table.differing:
        return None
    return f"rows that differ: {table.differing}; Postgres has {table.rows}. {table.shown[0]}"


def log_drift(context: dg.OpExecutionContext, asset: dg.AssetKey, parity: Parity) -> None:
    """As an observation too: of a check's figures the asset's page makes no plot."""
    context.log_event(dg.AssetObservation(asset, metadata=describe(asset, parity)))
