"""Schedules and sensors whose newest tick raised: it started no run, so no run can have failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorTick, TickStatus

from pipelines.defs.alerts.condition import Condition, Severity, span
from pipelines.defs.alerts.sources.runs import LOOK_BACK

# A database or the code server may be away for the length of its own restart.
PATIENCE = timedelta(minutes=2)
REASON_CHARACTERS = 300
# The newest may be under way.
READ_TICKS = 3
ENDED = {TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE}
ON = {InstigatorStatus.RUNNING, InstigatorStatus.DECLARED_IN_CODE}


def failed_ticks(
    instance: dg.DagsterInstance, jobs: Mapping[str, str | None], now: datetime
) -> Iterator[Condition]:
    """One condition a schedule or sensor that is on.

    Args:
        jobs: name of each schedule and sensor to look at → the job that it starts, None where a
            successful run of a job does not make its failure good.
    """
    names = {
        state.selector_id: state.instigator_name
        for state in instance.all_instigator_state(instigator_statuses=ON)
        if state.instigator_name in jobs
    }
    if not names:
        return
    # By states they can't be asked for: Dagster 1.13 then builds a query that it can't run.
    newest = instance.get_batch_ticks(list(names), limit=READ_TICKS)
    for selector, name in sorted(names.items(), key=lambda one: one[1]):
        tick = next((one for one in newest.get(selector, ()) if one.status in ENDED), None)
        if tick is None or not _counts(tick, now) or _made_good(instance, jobs[name], tick):
            continue
        yield Condition(
            key=f"tick/{name}",
            severity=Severity.ERROR,
            text=f"{tick.instigator_type.value.lower()} {name} could not be evaluated "
            f"{span(now.timestamp() - tick.timestamp)} ago, so that it started nothing: "
            f"{_reason(tick)}",
            see="alert-tick",
            patience=PATIENCE,
        )


def _counts(tick: InstigatorTick, now: datetime) -> bool:
    return tick.status is TickStatus.FAILURE and tick.timestamp >= (now - LOOK_BACK).timestamp()


def _made_good(instance: dg.DagsterInstance, job: str | None, tick: InstigatorTick) -> bool:
    """Whether somebody has started by hand what the tick should have."""
    if job is None:
        return False
    since = datetime.fromtimestamp(tick.timestamp, UTC)
    succeeded = dg.RunsFilter(
        job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS], created_after=since
    )
    return bool(instance.get_run_records(succeeded, limit=1))


def _reason(tick: InstigatorTick) -> str:
    """The innermost error in one line; Dagster wraps what the code raised."""
    error = tick.error
    while error is not None and error.cause is not None:
        error = error.cause
    return " ".join(error.message.split())[:REASON_CHARACTERS] if error else "it gave no reason"
