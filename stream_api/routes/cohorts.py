"""`/cohort/…`: figures of cohorts. Every answer says by `asOf` what data it includes."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from config.names import COMPANY_ID_PATTERN
from stream_api import statistics
from stream_api.cohorts import EARLIEST, LATEST, CohortFigures, Period, describe_trends
from stream_api.errors import Refusal
from stream_api.routes.access import PrincipalDep, SidecarDep, require_company
from stream_api.sidecar import Sidecar

router = APIRouter(prefix="/cohort", tags=["cohorts"])

Metric = Annotated[str, Query(min_length=1, max_length=200, description="metric name")]
CompanyId = Annotated[
    str | None, Query(alias="companyId", description="needed when authentication is off")
]
CohortId = Annotated[str, Field(min_length=1, max_length=100)]


@router.get("/{cohort_id}/metrics")
async def read_metrics(
    cohort_id: str,
    sidecar: SidecarDep,
    principal: PrincipalDep,
    metric: Metric,
    company_id: CompanyId = None,
    start_date: Annotated[date | None, Query(alias="startDate")] = None,
    end_date: Annotated[date | None, Query(alias="endDate")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=40)] = None,
) -> dict[str, Any]:
    """A metric of a cohort, one row a period, ascending; both dates are included."""
    figures = _figures(sidecar)
    company = require_company(principal, company_id)
    start, end = _bounded(start_date or EARLIEST), _bounded(end_date or LATEST)
    if start > end:
        raise Refusal(400, f"startDate {start} is after endDate {end}")
    if cursor is not None:
        start = max(start, _after(cursor))
    (found,) = await figures.names(company, [cohort_id])
    # One more than asked for tells whether there is a next page.
    rows = await figures.metrics(company, found, metric, start, end, limit + 1)
    page = rows[:limit]
    answer: dict[str, Any] = {
        "cohortId": found,
        "metricName": metric,
        "data": [_period(row) for row in page],
        "count": len(page),
        "asOf": sidecar.health.as_of(),
    }
    if len(rows) > limit:
        answer["nextCursor"] = page[-1].period_start.isoformat()
    return answer


@router.get("/{cohort_id}/trends")
async def read_trends(
    cohort_id: str,
    sidecar: SidecarDep,
    principal: PrincipalDep,
    metric: Metric,
    company_id: CompanyId = None,
    periods: Annotated[int, Query(ge=1, le=120)] = 12,
) -> dict[str, Any]:
    """Direction of a cohort's metric over its latest periods, ascending."""
    figures = _figures(sidecar)
    company = require_company(principal, company_id)
    (found,) = await figures.names(company, [cohort_id])
    trends = describe_trends(await figures.trends(company, found, metric, periods))
    return {
        "cohortId": found,
        "metricName": metric,
        "trends": trends,
        "count": len(trends),
        "asOf": sidecar.health.as_of(),
    }


class Comparison(BaseModel):
    """Body of a comparison."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    cohort_ids: Annotated[list[CohortId], Field(alias="cohortIds", min_length=1, max_length=50)]
    metric: Annotated[str, Field(min_length=1, max_length=200)]
    period_start: Annotated[date | None, Field(alias="periodStart")] = None
    company_id: Annotated[str | None, Field(alias="companyId", pattern=COMPANY_ID_PATTERN)] = None


@router.post("/compare")
async def compare_cohorts(
    body: Comparison,
    sidecar: SidecarDep,
    principal: PrincipalDep,
    company_id: CompanyId = None,
) -> dict[str, Any]:
    """Cohorts of one company side by side in one period, the latest with data by default."""
    figures = _figures(sidecar)
    company = require_company(principal, body.company_id or company_id)
    names = await figures.names(company, body.cohort_ids)
    period = body.period_start or await figures.latest_period(company, list(names), body.metric)
    groups = (
        []
        if period is None
        else await figures.groups(company, names, body.metric, _bounded(period))
    )
    # In a thread: the first call imports scipy and statsmodels, which takes a second or more, and
    # the event loop belongs to the streams.
    cohorts, pairs = await asyncio.to_thread(statistics.compare, groups)
    return {
        "comparison": {
            "metricName": body.metric,
            "periodStart": period.isoformat() if period else None,
            "cohorts": cohorts,
            "pairs": pairs,
        },
        "cohortCount": len(names),
        "asOf": sidecar.health.as_of(),
    }


def _figures(sidecar: Sidecar) -> CohortFigures:
    if sidecar.warehouse is None:
        raise Refusal(501, "the warehouse is switched off; set CLICKHOUSE_ENABLED=true")
    return CohortFigures(sidecar.platform, sidecar.warehouse)


def _bounded(day: date) -> date:
    """A day that ClickHouse's Date can hold; nothing is stored outside of it."""
    return min(max(day, EARLIEST), LATEST)


def _after(cursor: str) -> date:
    try:
        return date.fromordinal(date.fromisoformat(cursor).toordinal() + 1)
    except (ValueError, OverflowError):
        raise Refusal(400, "cursor is not one of ours; use nextCursor of the page before") from None


def _period(row: Period) -> dict[str, Any]:
    return {
        "periodStart": row.period_start.isoformat(),
        "avgValue": row.avg_value,
        "sampleSize": row.sample_size,
        "p50": row.p50,
        "p75": row.p75,
        "p95": row.p95,
        "minValue": row.min_value,
        "maxValue": row.max_value,
        "stdDev": row.std_dev,
    }
