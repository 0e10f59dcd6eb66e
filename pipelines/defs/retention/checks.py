"""That nothing but the pipeline deletes by age, and that streams keep what the policy says."""

import dagster as dg

from pipelines.databases import Databases
from pipelines.defs.partitions.stock import TABLES
from pipelines.defs.retention.assets import POOL, partition_actions
from pipelines.defs.retention.plan import plan_streams
from pipelines.defs.retention.policies import read_policies
from pipelines.event_stream import EventStreams
from sql import statement


@dg.asset_check(
    asset=partition_actions,
    description="No table of the warehouse has a TTL: the engine would delete by its own clock, "
    "without plan or history, and knows no company's policy.",
    pool=POOL,
)
def no_table_deletes_by_itself(databases: dg.ResourceParam[Databases]) -> dg.AssetCheckResult:
    with databases.clickhouse() as ch:
        found = ch.query(
            statement("clickhouse/select_table_ttls"),
            parameters={"tables": [table.name for table in TABLES if not table.system]},
        ).result_rows
    said = "; ".join(f"{name}: {engine}" for name, engine in found)
    return dg.AssetCheckResult(
        passed=not found,
        description=said or "no table has a TTL",
        metadata={"tables": len(found)},
    )


@dg.asset_check(
    asset=partition_actions,
    description="ANALYTICS_EVENTS and ANALYTICS_DLQ keep their messages for as long as "
    "retention_policies says. Longer is a warning: a stream is narrowed only when asked to.",
    pool=POOL,
)
def streams_keep_what_the_policy_says(
    databases: dg.ResourceParam[Databases], event_streams: dg.ResourceParam[EventStreams]
) -> dg.AssetCheckResult:
    with databases.postgres() as pg, event_streams.open() as stream:
        steps = list(plan_streams(stream, read_policies(pg)))
    shorter = any(step.action == "widen" for step in steps)
    return dg.AssetCheckResult(
        passed=not steps,
        severity=dg.AssetCheckSeverity.ERROR if shorter else dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{step.name} {step.reason}" for step in steps) or "they do",
    )
