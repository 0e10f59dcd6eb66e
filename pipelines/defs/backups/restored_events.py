"""`restored_events`: days of `events` that were brought back from a backup."""

from collections.abc import Iterator
from datetime import date

import dagster as dg
from pydantic import Field

from config.names import TABLE_EVENTS
from pipelines.databases import Databases
from pipelines.defs.backups.assets import GROUP, OWNERS, POOL, STATEMENT_SECONDS, backups
from pipelines.defs.backups.lost_days import plan_days
from pipelines.defs.backups.restore import restore
from pipelines.defs.partitions.assets import EVENT_DAYS
from pipelines.defs.partitions.events_day import read_events_day
from pipelines.runbook import when_it_fails
from pipelines.transient import repeated_if_transient

RESTORED_EVENTS = dg.AssetKey("restored_events")


class RestoreDaysConfig(dg.Config):
    backup_id: str = Field(
        default="",
        description="The backup to take the days from. Empty: each from the newest one that has it "
        "and in whose chain no drill found damage.",
    )
    dry_run: bool = Field(
        default=True,
        description="Show the plan, which stands in the day's observation, and do nothing.",
    )


@dg.asset(
    key=RESTORED_EVENTS,
    deps=[backups],
    partitions_def=EVENT_DAYS,
    # One run for all the days: they come out of one or two backups.
    backfill_policy=dg.BackfillPolicy.single_run(),
    output_required=False,
    description="Days of events brought back from a backup. Rows that are there already are "
    "replaced by their key, newer ones stay, and what was erased since is erased again. What a "
    "company's own retention had taken out goes again with the next nightly run. Metric rows are "
    "in a table of their own: rebuild_metrics makes them from the day's events.",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"clickhouse"},
    metadata=when_it_fails("runbook/backups.md#data-has-to-come-back"),
    pool=POOL,
)
def restored_events(
    context: dg.AssetExecutionContext,
    config: RestoreDaysConfig,
    databases: dg.ResourceParam[Databases],
) -> Iterator[dg.MaterializeResult[None]]:
    days = [date.fromisoformat(key) for key in context.partition_keys]
    settings, now = databases.settings, databases.now()
    with (
        repeated_if_transient(),
        databases.clickhouse(timeout_seconds=STATEMENT_SECONDS) as ch,
    ):
        with databases.postgres() as pg:
            plans = plan_days(pg, ch, settings, days, config.backup_id or None)
        for plan in plans:
            for line in plan.lines(now):
                context.log.info(line)
            if not config.dry_run:
                for note in restore(ch, settings, plan, now).notes:
                    context.log.warning(note)
            for partition in plan.tables[TABLE_EVENTS]:
                day = date.fromisoformat(partition)
                metadata: dict[str, dg.RawMetadataValue] = {
                    "backup_id": plan.backup.backup_id,
                    "rows_in_backup": plan.backup.warehouse[TABLE_EVENTS][partition].figures.rows,
                    "dagster/partition_row_count": read_events_day(ch, day).events,
                }
                if config.dry_run:
                    text = "\n".join(f"    {line}" for line in plan.lines(now))
                    context.log_event(
                        dg.AssetObservation(
                            RESTORED_EVENTS,
                            partition=day.isoformat(),
                            metadata={**metadata, "plan": dg.MetadataValue.md(text)},
                        )
                    )
                else:
                    context.add_asset_metadata(metadata, partition_key=day.isoformat())
    # A day that was only looked at is not shown as restored.
    if not config.dry_run:
        yield dg.MaterializeResult()
