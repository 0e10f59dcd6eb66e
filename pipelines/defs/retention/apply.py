"""A plan done: each step is decided again right before it, and done only if it is still due."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from config.names import EVENTS_STREAM
from pipelines.defs.partitions.history import Outcome, PartitionAction, record
from pipelines.defs.partitions.stock import BY_NAME, read_partitions
from pipelines.defs.retention.plan import Plan, Step, plan_partition, plan_streams
from pipelines.defs.retention.policies import PolicyError, read_policies
from pipelines.event_stream import EventStream
from sql import statement


def apply_retention(
    pg: psycopg.Connection,
    ch: Client,
    plan: Plan,
    now: datetime,
    stream: EventStream | None = None,
    *,
    run_id: str = "by hand",
    say: Callable[[str], None] = lambda _: None,
) -> list[PartitionAction]:
    """Do the plan's steps; each is written to `partition_actions`, the refused ones too.

    A step that is not due any more, or that the table of policies does not name, is refused; one
    that ClickHouse refuses is failed and the others are done. `now` is the clock decided by.
    """
    done = []
    for step in plan.steps:
        began = time.monotonic()
        fresh = decide_again(pg, ch, step, now, stream)
        outcome: Outcome = "done"
        if isinstance(fresh, str):
            outcome, reason, what = "refused", fresh, step
        else:
            reason, what = fresh.reason, fresh
            try:
                _do(ch, stream, fresh)
            except ClickHouseError as error:
                outcome, reason = "failed", " ".join(str(error).split())[:500]
        action = PartitionAction(
            what.action,
            outcome,
            what.dataset,
            what.name,
            what.partition_id,
            what.company_count,
            what.rows,
            what.bytes,
            round(time.monotonic() - began, 3),
            reason,
        )
        record(pg, action, now, run_id)
        say(f"{outcome}: {what.action} {what.name} {what.partition_id}, {what.rows} rows: {reason}")
        done.append(action)
    return done


def decide_again(
    pg: psycopg.Connection, ch: Client, step: Step, now: datetime, stream: EventStream | None
) -> Step | str:
    """The step with the figures and companies of this moment, or why it is not done."""
    try:
        policies = read_policies(pg)
    except PolicyError as error:
        return str(error)
    if not step.partition_id:
        if stream is None:
            return "no stream was given"
        due = [one for one in plan_streams(stream, policies) if one.key == step.key]
        if due and step.action == "narrow" and (why := _loses_events(stream, due[0])):
            return why
        return due[0] if due else "not due any more"
    table = BY_NAME.get(step.name)
    if table is None or table.dataset != step.dataset:
        return f"{step.name} is no table that retention_policies names"
    today = now.astimezone(UTC).date()
    for partition in read_partitions(ch):
        if (partition.database, partition.table.name, partition.partition_id) != (
            *(step.database, step.name, step.partition_id),
        ):
            continue
        for fresh in plan_partition(ch, partition, policies, today):
            if fresh.key != step.key:
                continue
            if not step.listed or step.action != "delete":
                return fresh
            # Of a list only who was planned and still is due.
            companies = tuple(sorted(set(fresh.companies) & set(step.companies)))
            if companies:
                return replace(fresh, companies=companies, company_count=len(companies))
        return "not due any more"
    return "the partition is gone"


def _loses_events(stream: EventStream, step: Step) -> str | None:
    """Why the stream of events may not be narrowed now, if so: it may lose what is not stored."""
    if step.name != EVENTS_STREAM:
        return None
    kept_from = stream.first_sequence_since(int((time.time() - step.seconds) * 1000))
    state = stream.state()
    floor = stream.ack_floor()
    if floor + 1 < min(kept_from or state.next_seq, state.next_seq):
        return f"messages above {floor} are not stored yet, and would be lost"
    return None


def _do(ch: Client, stream: EventStream | None, step: Step) -> None:
    if step.action in {"widen", "narrow"}:
        if stream is not None:
            stream.change_age(step.name, step.seconds)
        return
    table = BY_NAME[step.name]
    where: dict[str, object] = {
        "database": step.database,
        "table": step.name,
        "partition": step.partition_id,
    }
    aged: dict[str, object] = {"time_column": table.time_column, "cutoff": step.cutoff}
    if step.action == "drop":
        ch.command(statement("clickhouse/drop_partition"), parameters=where)
    elif step.action == "optimize":
        ch.command(statement("clickhouse/optimize_partition"), parameters=where)
    elif table.company_column is None:
        ch.command(statement("clickhouse/delete_expired_days"), parameters=where | aged)
    else:
        aged |= {
            "company_column": table.company_column,
            "companies": list(step.companies),
            "listed": step.listed,
        }
        ch.command(statement("clickhouse/delete_expired_rows"), parameters=where | aged)
