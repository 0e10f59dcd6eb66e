"""Which runs are old enough to go, and their deletion."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg

ENDED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]
READ_RUNS = 500
# Some milliseconds each; what is left is for the next day.
DELETED_AT_ONCE = 20_000
PARTITION_TAGS = ("dagster/partition", "dagster/asset_partition_range_start")


@dataclass(frozen=True)
class Purge:
    """Ended runs older than the limit: all that were read, and those that go."""

    examined: int
    old: tuple[str, ...]


def find_old_runs(
    instance: dg.DagsterInstance, now: datetime, keep: timedelta, keep_partitioned: timedelta
) -> Purge:
    """Runs to delete.

    Runs of partitions are kept longer: with its run a partition loses its state in the UI.
    """
    examined, cursor = 0, None
    old: list[str] = []
    while len(old) < DELETED_AT_ONCE:
        records = instance.get_run_records(
            dg.RunsFilter(statuses=ENDED, created_before=now - keep), limit=READ_RUNS, cursor=cursor
        )
        if not records:
            break
        cursor = records[-1].dagster_run.run_id
        examined += len(records)
        old += [
            record.dagster_run.run_id
            for record in records
            if not any(tag in record.dagster_run.tags for tag in PARTITION_TAGS)
            or record.create_timestamp < now - keep_partitioned
        ]
    return Purge(examined, tuple(old[:DELETED_AT_ONCE]))


def delete_runs(instance: dg.DagsterInstance, purge: Purge) -> int:
    """Delete them with their events; the table of assets stays."""
    for run_id in purge.old:
        instance.delete_run(run_id)
    return len(purge.old)
