"""`analytics retention`: what is past its policy, and taking it out; as the nightly run does it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.pipelines import connected
from cli.refusal import Refused
from cli.servers import read_settings
from cli.table import text_table
from pipelines.defs.partitions.history import PartitionAction
from pipelines.defs.retention.apply import apply_retention
from pipelines.defs.retention.plan import Plan, Step, plan_retention
from pipelines.defs.retention.policies import follow_settings

RUN_ID = "analytics retention"
DUE = ("action", "dataset", "what", "partition", "companies", "rows", "bytes", "why")
ACTED = ("outcome", "action", "what", "partition", "rows", "bytes", "why")


def retention(
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it; otherwise it is only shown.")
    ] = False,
    narrow_streams: Annotated[
        bool,
        typer.Option(
            "--narrow-streams",
            help="Also shorten streams that keep messages for longer than their policy says.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show what is past its policy: partitions and rows to take out, parts to merge, streams."""
    settings, now = read_settings(), datetime.now(UTC)
    with connected(settings) as (pg, ch, stream):
        follow_settings(pg, settings)
        plan = plan_retention(pg, ch, now, stream, narrow_streams=narrow_streams)
        done = apply_retention(pg, ch, plan, now, stream, run_id=RUN_ID) if apply else None
    if as_json:
        print(json.dumps(_as_object(plan, done)))
    else:
        _show(plan, done)
    if failed := [one for one in done or () if one.outcome == "failed"]:
        named = ", ".join(f"{one.table_name} {one.partition_id}" for one in failed)
        raise Refused(f"ClickHouse refused: {named}; the others are done")


def _show(plan: Plan, done: Sequence[PartitionAction] | None) -> None:
    if done:
        print(text_table(ACTED, [_acted(one) for one in done]))
    elif plan.steps:
        print(text_table(DUE, [_due(step) for step in plan.steps]))
        figures = plan.figures
        print(f"{figures['rows']} rows would go; to do it: analytics retention --apply")
    else:
        print("nothing is due")
    for note in plan.notes:
        print(f"left alone: {note}")


def _due(step: Step) -> tuple[object, ...]:
    return (
        *(step.action, step.dataset, step.name, step.partition_id or None, step.whose or None),
        *(step.rows, step.bytes, step.reason),
    )


def _acted(one: PartitionAction) -> tuple[object, ...]:
    return (
        *(one.outcome, one.action, one.table_name, one.partition_id or None),
        *(one.rows, one.bytes, one.reason),
    )


def _as_object(plan: Plan, done: Sequence[PartitionAction] | None) -> dict[str, object]:
    """The plan, and what became of each step when it was done."""
    return {
        "dryRun": done is None,
        "steps": [
            {
                "action": step.action,
                "dataset": step.dataset,
                "name": step.name,
                "partition": step.partition_id or None,
                "companies": list(step.companies) if step.listed else None,
                "rows": step.rows,
                "bytes": step.bytes,
                "reason": step.reason,
            }
            for step in plan.steps
        ],
        "notes": list(plan.notes),
        "done": [
            {
                "outcome": one.outcome,
                "action": one.action,
                "name": one.table_name,
                "partition": one.partition_id or None,
                "rows": one.rows,
                "reason": one.reason,
            }
            for one in done or ()
        ],
    }
