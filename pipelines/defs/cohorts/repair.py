"""The job that writes rows of ClickHouse which differ from Postgres, and no others."""

import dagster as dg
from pydantic import Field

from pipelines.databases import Databases
from pipelines.defs.cohorts.assets import COHORTS, POOL, USER_COHORTS
from pipelines.defs.cohorts.checks import ROWS_MATCH, describe, log_drift, say
from pipelines.defs.cohorts.parity import compare_rows, repair_rows
from pipelines.transient import repeated_if_transient


class RepairConfig(dg.Config):
    dry_run: bool = Field(default=True, description="Name the rows that differ, and write nothing.")


@dg.op(
    description="Find the rows of cohorts and user_cohorts that differ from Postgres, and write "
    "them unless it is a dry run.",
    pool=POOL,
)
def repaired_cohort_rows(
    context: dg.OpExecutionContext, config: RepairConfig, databases: dg.ResourceParam[Databases]
) -> None:
    with repeated_if_transient(), databases.postgres() as pg, databases.clickhouse() as ch:
        found = compare_rows(pg, ch) if config.dry_run else repair_rows(pg, ch)
        left = found if config.dry_run else compare_rows(pg, ch)
    for asset in (COHORTS, USER_COHORTS):
        table = found.tables[asset.path[-1]]
        for line in table.shown:
            context.log.info(f"{'differs' if config.dry_run else 'repaired'}: {line}")
        log_drift(context, asset, found)
        if not config.dry_run and table.differing:
            context.log_event(
                dg.AssetMaterialization(
                    asset, metadata={"rows": table.differing, "repaired": table.shown}
                )
            )
        # The alert ends with the repair, not with the next check ten minutes later.
        context.log_event(
            dg.AssetCheckEvaluation(  # type: ignore[arg-type]  # taken, though not in its type
                asset_key=asset,
                check_name=ROWS_MATCH,
                passed=not left.tables[asset.path[-1]].differing,
                description=say(asset, left),
                metadata=describe(asset, left),
            )
        )
    context.add_output_metadata(
        {"dry_run": config.dry_run, "rows_differing": found.differing, "rows_left": left.differing}
    )


@dg.job(
    name="repair_cohort_parity",
    description="After a failed check rows_match_postgres: name the rows of ClickHouse that differ "
    "from Postgres. With dry_run false, write these rows as they are in Postgres.",
    tags={"dagster/max_runtime": "7200"},
)
def repair_parity_job() -> None:
    repaired_cohort_rows()
