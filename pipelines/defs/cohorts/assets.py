"""Assets of the cohort flow: memberships by filters in Postgres, and both tables in ClickHouse."""

import time
from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
from pydantic import Field

from pipelines.databases import Databases
from pipelines.defs.cohorts.membership import evaluate_memberships
from pipelines.defs.cohorts.partitions import keep_partitions
from pipelines.defs.cohorts.sync import sync_cohorts
from pipelines.runbook import when_it_fails
from pipelines.transient import repeated_if_transient

GROUP = "cohorts"
OWNERS = ["team:analytics"]
# One run of the flow at a time, whoever started it: dagster.yaml limits every pool to one run.
POOL = "cohorts"
# Runs come with changes, and every 10 minutes without: after two missed ones something is wrong.
FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(minutes=35), warn_window=timedelta(minutes=25)
)

PLATFORM_USERS = dg.AssetKey(["platform", "users"])
PLATFORM_COHORTS = dg.AssetKey(["platform", "cohorts"])
PLATFORM_USER_COHORTS = dg.AssetKey(["platform", "user_cohorts"])
COHORTS = dg.AssetKey("cohorts")
USER_COHORTS = dg.AssetKey("user_cohorts")

platform_tables = [
    dg.AssetSpec(
        PLATFORM_USERS,
        metadata={"dagster/table_name": "teei_platform.public.users"},
        description="Users of the platform in Postgres: language, program and role, which filters "
        "ask for. Written by the platform.",
        group_name=GROUP,
        owners=OWNERS,
        kinds={"postgres"},
    ),
    dg.AssetSpec(
        PLATFORM_COHORTS,
        metadata={"dagster/table_name": "teei_platform.public.cohorts"},
        description="Cohorts in Postgres, the only place where they are made and changed.",
        group_name=GROUP,
        owners=OWNERS,
        kinds={"postgres"},
    ),
]


class MembershipConfig(dg.Config):
    every: bool = Field(
        default=False, description="Evaluate every cohort, not only what the change log names."
    )


class CohortSyncConfig(dg.Config):
    full: bool = Field(
        default=False,
        description="Compare all rows of all companies with ClickHouse and write what differs.",
    )


@dg.asset(
    key=PLATFORM_USER_COHORTS,
    deps=[PLATFORM_USERS, PLATFORM_COHORTS],
    description="Memberships in Postgres. Those with joined_by = 'filter' follow their cohort's "
    "filters and are written here, as differences; those that a person made stay. A cohort whose "
    "filters can't be evaluated keeps its members and is named in cohort_filter_errors.",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres", "python"},
    metadata={
        "dagster/table_name": "teei_platform.public.user_cohorts",
        **when_it_fails("runbook/cohorts.md#a-cohort-is-empty"),
    },
    freshness_policy=FRESHNESS,
    pool=POOL,
)
def platform_user_cohorts(
    context: dg.AssetExecutionContext,
    config: MembershipConfig,
    databases: dg.ResourceParam[Databases],
) -> dg.MaterializeResult[None]:
    started = time.monotonic()
    with repeated_if_transient(), databases.postgres() as pg:
        evaluation = evaluate_memberships(pg, every=config.every)
    if evaluation.blocked:
        context.log.warning("rows are locked by an open transaction; the next run tries again")
    for cohort_id, error in evaluation.errors.items():
        context.log.warning(f"cohort {cohort_id}: {error}")
    return dg.MaterializeResult(
        metadata={
            "rows": evaluation.added + evaluation.removed,
            "added": evaluation.added,
            "removed": evaluation.removed,
            "cohorts_evaluated": evaluation.cohorts,
            "users_evaluated": evaluation.users,
            "filter_errors": len(evaluation.errors),
            "blocked": evaluation.blocked,
            "every_cohort_because": evaluation.whole_reason or "not needed",
            "duration_seconds": time.monotonic() - started,
        }
    )


@dg.multi_asset(
    name="warehouse_cohorts",
    specs=[
        dg.AssetSpec(
            COHORTS,
            deps=[PLATFORM_COHORTS, PLATFORM_USER_COHORTS],
            description="Cohorts in ClickHouse, as they are in Postgres: inserts, updates and "
            "deletes by the change log, everything compared where there is no usable watermark.",
            group_name=GROUP,
            owners=OWNERS,
            kinds={"clickhouse"},
            metadata={
                "dagster/table_name": "teei_analytics.cohorts",
                **when_it_fails("runbook/cohorts.md#a-cohort-is-missing-in-clickhouse"),
            },
            freshness_policy=FRESHNESS,
        ),
        dg.AssetSpec(
            USER_COHORTS,
            deps=[PLATFORM_COHORTS, PLATFORM_USER_COHORTS],
            description="Memberships in ClickHouse, as they are in Postgres; written by the same "
            "step as cohorts, under one watermark.",
            group_name=GROUP,
            owners=OWNERS,
            kinds={"clickhouse"},
            metadata={
                "dagster/table_name": "teei_analytics.user_cohorts",
                **when_it_fails("runbook/cohorts.md#parity-failed"),
            },
            freshness_policy=FRESHNESS,
        ),
    ],
    pool=POOL,
)
def warehouse_cohorts(
    context: dg.AssetExecutionContext,
    config: CohortSyncConfig,
    databases: dg.ResourceParam[Databases],
) -> Iterator[dg.MaterializeResult[None]]:
    started = time.monotonic()
    with repeated_if_transient(), databases.postgres() as pg, databases.clickhouse() as ch:
        result = sync_cohorts(pg, ch, full=config.full)
        keep_partitions(context.instance, pg)
    shared: dict[str, dg.RawMetadataValue] = {
        "companies": result.companies,
        "watermark": result.watermark.text(),
        "all_rows_compared_because": result.resync_reason or "not needed",
        "duration_seconds": time.monotonic() - started,
    }
    yield dg.MaterializeResult(
        asset_key=COHORTS,
        metadata={
            "rows": result.cohorts_written + result.cohorts_deleted,
            "written": result.cohorts_written,
            "deleted": result.cohorts_deleted,
            **shared,
        },
    )
    yield dg.MaterializeResult(
        asset_key=USER_COHORTS,
        metadata={
            "rows": result.members_written + result.members_deleted,
            "written": result.members_written,
            "deleted": result.members_deleted,
            "changes_pruned": result.changes_pruned,
            **shared,
        },
    )
