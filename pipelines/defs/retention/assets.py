"""`retention_plan` shows what is due, `partition_actions` does it, `erasures` is the ledger."""

import time
import uuid
from datetime import timedelta

import dagster as dg
from pydantic import Field

from pipelines.databases import Databases
from pipelines.defs.partitions.history import PartitionAction
from pipelines.defs.retention import ledger
from pipelines.defs.retention.apply import apply_retention
from pipelines.defs.retention.erasure import (
    count_subject,
    erase,
    reapply_erasures,
    verify_erasures,
)
from pipelines.defs.retention.plan import Plan, plan_retention
from pipelines.defs.retention.policies import follow_settings
from pipelines.defs.retention.subject import Subject
from pipelines.event_stream import EventStreams
from pipelines.progress import LoggedProgress
from pipelines.runbook import when_it_fails
from pipelines.transient import repeated_if_transient

GROUP = "retention"
OWNERS = ["team:analytics"]
# Mutations of one table wait for each other anyway; of two runs the second would find nothing due.
POOL = "retention"
ERASED_CHECK = "nothing_is_left_of_the_erased"
DUE_CHECK = "nothing_is_past_its_retention"


class PlanConfig(dg.Config):
    narrow_streams: bool = Field(
        default=False,
        description="Also shorten streams that keep messages for longer than their policy says. "
        "Refused where the sink has not stored what would go.",
    )


class RetentionConfig(PlanConfig):
    dry_run: bool = Field(
        default=True,
        description="Show what would be done, and do nothing. The daily schedule sets it false.",
    )


class ErasureConfig(dg.Config):
    company_id: str = Field(
        default="",
        description="The company to erase, or the company of the user. Empty: only look through "
        "all stores for what was erased before.",
    )
    user_id: str = Field(
        default="", description="The user to erase; empty erases the whole company."
    )
    requested_by: str = Field(
        default="dagster", description="Who asked for it; kept in the ledger."
    )
    dry_run: bool = Field(
        default=True, description="Count what there is in each store, and delete nothing."
    )
    look_back_days: int = Field(
        default=0,
        description="Look whether anything is left of the erasures of so many days; 0 is of all. "
        "Each one is a search through its company's events.",
    )
    reapply: bool = Field(
        default=False,
        description="Apply the whole ledger again: after a restore, or after a run that was cut.",
    )


@dg.asset(
    name="retention_plan",
    deps=[dg.AssetKey("events"), dg.AssetKey("metrics_timeseries"), dg.AssetKey("dead_letters")],
    description="What is due by the table retention_policies: partitions to drop, rows of single "
    "companies to delete, closed days to merge, ages of streams to change; rows, bytes and the "
    "reason of each. Default policies follow the settings RETENTION_*. Changes no data.",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres", "clickhouse", "nats"},
    metadata=when_it_fails("runbook/retention.md#data-is-past-its-retention"),
    pool=POOL,
)
def retention_plan(
    config: PlanConfig,
    databases: dg.ResourceParam[Databases],
    event_streams: dg.ResourceParam[EventStreams],
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # nothing is handed on
    with (
        repeated_if_transient(),
        databases.postgres() as pg,
        databases.clickhouse() as ch,
        event_streams.open() as stream,
    ):
        changed = follow_settings(pg, databases.settings)
        now = databases.now()
        plan = plan_retention(pg, ch, now, stream, narrow_streams=config.narrow_streams)
    return dg.MaterializeResult(
        metadata={
            **plan.figures,
            "plan": dg.MetadataValue.md(plan.table()),
            "defaults_changed": ", ".join(changed) or "none",
        }
    )


@dg.asset(
    name="partition_actions",
    deps=[retention_plan],
    check_specs=[
        dg.AssetCheckSpec(
            DUE_CHECK,
            asset="partition_actions",
            description="After the run no partition or row is left that a policy says is over.",
        )
    ],
    description="The plan done: each step is decided again right before it and written to the "
    "table partition_actions, the refused ones too. A run started by hand shows only, unless "
    "dry_run is set false; the daily schedule does it.",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres", "clickhouse", "nats"},
    metadata={
        "dagster/table_name": "teei_platform.public.partition_actions",
        **when_it_fails("runbook/retention.md#data-is-past-its-retention"),
    },
    pool=POOL,
)
def partition_actions(
    context: dg.AssetExecutionContext,
    config: RetentionConfig,
    databases: dg.ResourceParam[Databases],
    event_streams: dg.ResourceParam[EventStreams],
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # beside checks Dagster knows the bare type only
    began = time.monotonic()
    done: list[PartitionAction] = []
    with (
        repeated_if_transient(),
        databases.postgres() as pg,
        databases.clickhouse() as ch,
        event_streams.open() as stream,
    ):
        follow_settings(pg, databases.settings)
        now = databases.now()
        plan = plan_retention(pg, ch, now, stream, narrow_streams=config.narrow_streams)
        left = plan
        if not config.dry_run:
            done = apply_retention(
                *(pg, ch, plan, now, stream), run_id=context.run.run_id, say=context.log.info
            )
            left = plan_retention(pg, ch, now, stream)
    failed = [f"{one.table_name} {one.partition_id}" for one in done if one.outcome == "failed"]
    if failed:
        raise dg.Failure(f"ClickHouse refused: {', '.join(failed)}; see partition_actions")
    effective = [one for one in done if one.outcome == "done"]
    going = [one for one in effective if one.action in {"drop", "delete"}]
    return dg.MaterializeResult(
        metadata={
            "dry_run": config.dry_run,
            "steps": len(plan.steps),
            "done": len(effective),
            "refused": len(done) - len(effective),
            "rows": sum(one.rows for one in going),
            "bytes": sum(one.bytes for one in going),
            "duration_seconds": round(time.monotonic() - began, 3),
            "plan": dg.MetadataValue.md(plan.table()),
        },
        check_results=[judge_due(left, dry_run=config.dry_run)],
    )


def judge_due(left: Plan, *, dry_run: bool) -> dg.AssetCheckResult:
    """Failed where something is past its time; after a dry run that is a warning."""
    over = [step for step in left.steps if step.action in {"drop", "delete"}]
    names = ", ".join(f"{step.name} {step.partition_id} ({step.rows} rows)" for step in over[:20])
    return dg.AssetCheckResult(
        check_name=DUE_CHECK,
        passed=not over,
        severity=dg.AssetCheckSeverity.WARN if dry_run else dg.AssetCheckSeverity.ERROR,
        description=f"past its retention: {names}" if over else "nothing is past its retention",
        metadata={"partitions": len(over), "rows": sum(step.rows for step in over)},
    )


@dg.asset(
    name="erasures",
    deps=[
        *(dg.AssetKey("events"), dg.AssetKey("metrics_timeseries"), dg.AssetKey("dead_letters")),
        *(dg.AssetKey("cohorts"), dg.AssetKey("user_cohorts")),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            ERASED_CHECK,
            asset="erasures",
            description="No store holds anything of a user or company of the ledger that was "
            "there at the moment of the erasure. Fails after a restore until the ledger was "
            "applied again.",
        )
    ],
    description="Erasures of users and companies from Postgres, ClickHouse and JetStream, with "
    "a ledger that a restore applies again. Without a company it only looks whether anything "
    "is left.",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres", "clickhouse", "nats"},
    metadata={
        "dagster/table_name": "teei_platform.public.erasures",
        **when_it_fails("runbook/retention.md#something-is-left-of-an-erasure"),
    },
    pool=POOL,
)
def erasures(
    context: dg.AssetExecutionContext,
    config: ErasureConfig,
    databases: dg.ResourceParam[Databases],
    event_streams: dg.ResourceParam[EventStreams],
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # beside checks Dagster knows the bare type only
    began = time.monotonic()
    counts: dict[str, int] = {}
    settled = True
    progress = LoggedProgress(context.log.info)
    with (
        repeated_if_transient(),
        databases.postgres() as pg,
        databases.clickhouse() as ch,
        event_streams.open() as stream,
    ):
        if config.user_id and not config.company_id:
            raise dg.Failure("a user is erased in a company: set company_id as well")
        if config.reapply:
            for one in reapply_erasures(pg, ch, stream, progress=progress):
                settled &= one.sink_settled
                for store, number in one.counts.items():
                    counts[store] = counts.get(store, 0) + number
        elif config.company_id:
            subject = Subject(config.company_id, config.user_id or None)
            if config.dry_run:
                counts = count_subject(pg, ch, stream, subject)
            else:
                now = databases.now()
                erased = erase(
                    *(pg, ch, stream, subject, now),
                    requested_by=config.requested_by,
                    run_id=context.run.run_id,
                    progress=progress,
                    # The same in each attempt: one run is one entry of the ledger.
                    erasure_id=str(uuid.uuid5(uuid.UUID(context.run.run_id), "erasure")),
                )
                counts, settled = erased.counts, erased.sink_settled
        since = databases.now() - timedelta(days=config.look_back_days)
        entries = [
            one for one in ledger.read(pg) if not config.look_back_days or one.erased_at >= since
        ]
        finds = verify_erasures(pg, ch, stream, entries)
    return dg.MaterializeResult(
        metadata={
            "dry_run": config.dry_run and not config.reapply,
            "rows": sum(counts.values()),
            "by_store": counts,
            "verified": len(entries),
            "duration_seconds": round(time.monotonic() - began, 3),
        },
        check_results=[judge_erased(finds, sink_settled=settled)],
    )


def judge_erased(finds: dict[str, dict[str, int]], *, sink_settled: bool) -> dg.AssetCheckResult:
    """Failed with the erasures by their ids and what is left in which store."""
    said = [
        f"{erasure_id}: " + ", ".join(f"{store} {number}" for store, number in stores.items())
        for erasure_id, stores in list(finds.items())[:20]
    ]
    if not sink_settled:
        said.append("a sink held messages all the time; apply the ledger again")
    return dg.AssetCheckResult(
        check_name=ERASED_CHECK,
        passed=not said,
        description="; ".join(said) or "nothing is left of any",
        metadata={"erasures_with_finds": len(finds)},
    )
