"""`events` as daily partitions: Dagster's partition of a day is ClickHouse's of the same day.

`metrics_timeseries` is partitioned here by the same days, those on which its events came in; in
ClickHouse its partitions are the months of the periods that the metrics are about.
"""

import time
from datetime import date

import dagster as dg

from config.names import EVENT_SUBJECTS
from pipelines.databases import Databases
from pipelines.defs.partitions.events_day import read_events_day
from pipelines.defs.partitions.rebuild import rebuild_metrics_day
from pipelines.runbook import when_it_fails
from pipelines.transient import repeated_if_transient

GROUP = "partitions"
OWNERS = ["team:analytics"]
# Events are kept 90 days by default, so this reaches back past anything a warehouse still has; the
# day that is still filling counts as a partition too.
EVENT_DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_offset=1)
# A backfill of a quarter is three runs, not ninety: a run costs 4 s, a day some milliseconds.
DAYS_A_RUN = 31

event_stream = dg.AssetSpec(
    ["jetstream", "analytics_events"],
    description="Stream ANALYTICS_EVENTS: what producers published in the last 24 hours. The "
    "sidecar's sink stores it.",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"nats"},
    metadata={"window": "24 hours", "subjects": ", ".join(EVENT_SUBJECTS) + " by default"},
)


@dg.asset(
    name="events",
    deps=[event_stream.key],
    partitions_def=EVENT_DAYS,
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=DAYS_A_RUN),
    description="Events in ClickHouse, one partition a day of the stream's time. Written by the "
    "sink; materialising a day takes stock of it: events, companies, rows and bytes on disk, "
    "parts, first and last stream sequence. A day without events is a day with 0 rows.",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"clickhouse"},
    metadata={
        "dagster/table_name": "teei_analytics.events",
        **when_it_fails("runbook/ingestion.md#events-are-not-in-clickhouse"),
    },
    pool="events_partitions",
)
def events(context: dg.AssetExecutionContext, databases: dg.ResourceParam[Databases]) -> None:
    with repeated_if_transient(), databases.clickhouse() as ch:
        for key in context.partition_keys:
            day = read_events_day(ch, date.fromisoformat(key))
            sequences = {
                name: value
                for name, value in (("first_seq", day.first_seq), ("last_seq", day.last_seq))
                if value is not None
            }
            context.add_asset_metadata(
                {
                    "rows": day.stored_rows,
                    "distinct_events": day.events,
                    "dagster/partition_row_count": day.events,
                    "companies": day.companies,
                    "bytes": day.bytes_on_disk,
                    "parts": day.parts,
                    **sequences,
                },
                partition_key=key,
            )


@dg.asset(
    name="metrics_timeseries",
    deps=[events],
    partitions_def=EVENT_DAYS,
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=DAYS_A_RUN),
    description="Metric rows in ClickHouse. Written by the sink with the events; materialising a "
    "day writes the rows of that day's events again. A row is a function of its event, so "
    "readers see each once all the time, and what was lost comes back. Rows whose events "
    "are over stay.",
    group_name=GROUP,
    owners=["team:analytics"],
    kinds={"clickhouse"},
    metadata={
        "dagster/table_name": "teei_analytics.metrics_timeseries",
        **when_it_fails("runbook/retention.md#metric-rows-of-a-day-are-missing"),
    },
    pool="events_partitions",
)
def metrics_timeseries(
    context: dg.AssetExecutionContext, databases: dg.ResourceParam[Databases]
) -> None:
    with repeated_if_transient(), databases.clickhouse() as ch:
        for key in context.partition_keys:
            began = time.monotonic()
            day = rebuild_metrics_day(ch, date.fromisoformat(key))
            context.add_asset_metadata(
                {
                    "rows": day.written,
                    "dagster/partition_row_count": day.present,
                    "metric_events": day.events,
                    "refused_events": day.refused,
                    "doubled": day.doubled,
                    "duration_seconds": round(time.monotonic() - began, 3),
                },
                partition_key=key,
            )
