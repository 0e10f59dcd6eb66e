"""Asset checks whose newest evaluation failed as an error, partition by partition.

Any check of any flow: a new one needs no line here. A failed check of severity WARN is for the UI.
A check that could not be evaluated has made its run fail, which is the alert then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord as CheckRecord,
)
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecordStatus as Status,
)

from pipelines.defs.alerts.condition import Condition, Severity, span
from pipelines.defs.alerts.sources.runs import LOOK_BACK, PARTITION

READ_FAILURES = 100
READ_EVALUATIONS = 500
EVALUATED = {Status.SUCCEEDED, Status.FAILED}


def failed_checks(
    instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey], now: datetime
) -> Iterator[Condition]:
    """One condition a check and partition."""
    for key in sorted(checks, key=lambda one: one.to_user_string()):
        # Almost always there is nothing; the whole history is read only where something failed.
        failures = instance.event_log_storage.get_asset_check_execution_history(
            key, limit=READ_FAILURES, status={Status.FAILED}
        )
        if any(_counts(record, now) for record in failures):
            yield from _still_failed(instance, key, now)


def _counts(record: CheckRecord, now: datetime) -> bool:
    evaluation = record.evaluation
    return (
        record.status is Status.FAILED
        and evaluation is not None
        and evaluation.severity is dg.AssetCheckSeverity.ERROR
        and record.create_timestamp >= (now - LOOK_BACK).timestamp()
    )


def _still_failed(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, now: datetime
) -> Iterator[Condition]:
    history = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=READ_EVALUATIONS, status=EVALUATED
    )
    partitions = _partitions(instance, history)
    newest: dict[str | None, CheckRecord] = {}
    for record in history:
        newest.setdefault(partitions[record.id], record)
    for partition, record in newest.items():
        if not _counts(record, now) or record.evaluation is None:
            continue
        asset, where = key.asset_key.to_user_string(), f" for {partition}" if partition else ""
        yield Condition(
            key=f"check/{asset}/{key.name}" + (f"/{partition}" if partition else ""),
            severity=Severity.ERROR,
            text=f"check {key.name} of asset {asset}{where} failed "
            f"{span(now.timestamp() - record.create_timestamp)} ago: "
            f"{record.evaluation.description or 'it gave no description'}",
            see="alert-check",
        )


def _partitions(
    instance: dg.DagsterInstance, history: Sequence[CheckRecord]
) -> dict[int, str | None]:
    """Partition of each evaluation; where it doesn't say, that of its run."""
    run_ids = sorted({record.run_id for record in history if not record.partition})
    tagged: dict[str, str | None] = {}
    if run_ids:
        for run in instance.get_runs(dg.RunsFilter(run_ids=run_ids)):
            tagged[run.run_id] = run.tags.get(PARTITION)
    return {record.id: record.partition or tagged.get(record.run_id) for record in history}
