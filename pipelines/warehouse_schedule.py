"""A schedule whose runs need the warehouse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from pipelines.databases import Databases


def warehouse_schedule(
    name: str,
    job: object,
    cron: str,
    description: str,
    run_config: Mapping[str, Any] | None = None,
) -> dg.ScheduleDefinition:
    """A schedule in UTC, RUNNING, that skips where the warehouse half is switched off."""

    @dg.schedule(
        name=name,
        job=job,  # type: ignore[arg-type]  # a job by name or any of its kinds
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )
    def tick(databases: dg.ResourceParam[Databases]) -> dg.RunRequest | dg.SkipReason:
        if not databases.warehouse_enabled:
            return dg.SkipReason("CLICKHOUSE_ENABLED is false")
        return dg.RunRequest(run_config=run_config)

    return tick
