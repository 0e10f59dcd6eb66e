"""Runs that failed and have not succeeded since."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import dagster as dg

from pipelines.defs.alerts.condition import Condition, Severity, span

# A failure that nobody repeated successfully is remembered for so long; deleting the run ends it.
LOOK_BACK = timedelta(days=14)
READ_RUNS = 300
PARTITION = "dagster/partition"
RANGE_START = "dagster/asset_partition_range_start"
ASSET_JOB = "__ASSET_JOB"


def failed_runs(instance: dg.DagsterInstance, now: datetime) -> Iterator[Condition]:
    """One condition a job and partition whose newest finished run failed."""
    failures: dict[str, list[dg.RunRecord]] = {}
    for record in instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=now - LOOK_BACK),
        limit=READ_RUNS,
    ):
        failures.setdefault(task_of(record.dagster_run), []).append(record)
    for task, records in failures.items():
        # Newest first, as they are read.
        newest, earlier = records[0], len(records) - 1
        if _succeeded_since(instance, newest, task):
            continue
        run = newest.dagster_run
        ended = newest.end_time or newest.create_timestamp.timestamp()
        more = f", {earlier} earlier failures in two weeks" if earlier else ""
        yield Condition(
            key=f"run/{task}",
            severity=Severity.ERROR,
            text=f"run of {task} failed {span(now.timestamp() - ended)} ago{more}: "
            f"{reason(instance, run.run_id)} (Dagster: /runs/{run.run_id})",
            see="alert-run",
        )


def task_of(run: dg.DagsterRun) -> str:
    """What a later run has to repeat to make good a failure: job, or assets, and partition."""
    if run.job_name == ASSET_JOB:
        name = ",".join(sorted(key.to_user_string() for key in run.asset_selection or ()))
    else:
        name = run.job_name
    partition = run.tags.get(PARTITION) or run.tags.get(RANGE_START)
    return f"{name}/{partition}" if partition else name


def reason(instance: dg.DagsterInstance, run_id: str) -> str:
    """Step and innermost error of the first failed step, or what the run itself says."""
    events = instance.get_records_for_run(
        run_id,
        of_type={dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE},
        limit=10,
    ).records
    words = "no reason is recorded"
    for record in events:
        event = record.event_log_entry.dagster_event
        if event is None:
            continue
        if event.event_type is not dg.DagsterEventType.STEP_FAILURE:
            words = event.message or words
            continue
        data = event.step_failure_data
        if data.user_failure_data is not None and data.user_failure_data.description:
            return f"{event.step_key}: {data.user_failure_data.description}"
        error = data.error
        while error is not None and error.cause is not None:
            error = error.cause
        return f"{event.step_key}: {error.message.strip() if error else event.message}"
    return words


def _succeeded_since(instance: dg.DagsterInstance, failed: dg.RunRecord, task: str) -> bool:
    job = failed.dagster_run.job_name
    later = instance.get_run_records(
        dg.RunsFilter(
            job_name=job,
            statuses=[dg.DagsterRunStatus.SUCCESS],
            created_after=failed.create_timestamp,
        ),
        limit=READ_RUNS,
    )
    return any(task_of(record.dagster_run) == task for record in later)
