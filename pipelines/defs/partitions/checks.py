"""Partitions that are crowded or should not be there, named by the checks of both tables."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from pipelines.databases import Databases
from pipelines.defs.partitions.assets import events, metrics_timeseries
from pipelines.defs.partitions.parts import find_crowded
from pipelines.defs.partitions.stock import Partition, read_partitions
from pipelines.defs.partitions.strays import find_detached, find_strays

NAMED = 20


def _check(asset: dg.AssetsDefinition) -> list[dg.AssetChecksDefinition]:
    table = asset.key.to_user_string()

    @dg.asset_check(
        asset=asset,
        name="no_partition_is_crowded",
        description="No partition has more than 300 parts, no closed one more than 8, none more "
        "bytes than one merge can hold.",
        pool="events_partitions",
    )
    def crowded(databases: dg.ResourceParam[Databases]) -> dg.AssetCheckResult:
        with databases.clickhouse() as ch:
            own = [one for one in read_partitions(ch) if one.table.name == table]
        today = datetime.now(UTC).date()
        return judge(find_crowded(own, today), own, dg.AssetCheckSeverity.WARN)

    @dg.asset_check(
        asset=asset,
        name="no_partition_is_stray",
        description="Every partition is of a day or month that events can have, and no part is "
        "detached: retention never reaches a partition of the future, no query a detached part.",
        pool="events_partitions",
    )
    def stray(databases: dg.ResourceParam[Databases]) -> dg.AssetCheckResult:
        with databases.clickhouse() as ch:
            own = [one for one in read_partitions(ch) if one.table.name == table]
            detached = [said for said in find_detached(ch) if said.split()[0] == table]
        today = datetime.now(UTC).date()
        return judge(find_strays(own, today) + detached, own, dg.AssetCheckSeverity.ERROR)

    return [crowded, stray]


def judge(
    named: list[str], partitions: Sequence[Partition], severity: dg.AssetCheckSeverity
) -> dg.AssetCheckResult:
    """Passed when nothing is named; with figures of the table for the UI to plot."""
    more = f"; {len(named) - NAMED} more" if len(named) > NAMED else ""
    return dg.AssetCheckResult(
        passed=not named,
        severity=severity,
        description=("; ".join(named[:NAMED]) + more) or "none",
        metadata={
            "named": len(named),
            "partitions": len(partitions),
            "parts": sum(one.parts for one in partitions),
            "most_parts": max((one.parts for one in partitions), default=0),
            "bytes": sum(one.bytes for one in partitions),
            "largest_bytes": max((one.bytes for one in partitions), default=0),
        },
    )


checks = [*_check(events), *_check(metrics_timeseries)]
