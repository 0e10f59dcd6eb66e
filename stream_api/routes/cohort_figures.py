"""`/cohort/{id}/metrics`, `trends`, `overview` and `retention`: figures of one cohort."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from stream_api.cohorts import EARLIEST, LATEST, bounded, describe_trends
from stream_api.errors import Refusal, refusals
from stream_api.periods import PeriodName, day_behind, latest_spans, parse_zone
from stream_api.query_cache import Question
from stream_api.routes import cohort_models as shapes
from stream_api.routes.access import PrincipalDep, require_company
from stream_api.routes.cohort_access import CohortApiDep, CompanyId, Metric, Timezone

router = APIRouter(
    prefix="/cohort",
    tags=["cohort figures"],
    responses=refusals(400, 401, 403, 404, 429, 501, 503),
)


@router.get("/{cohort_id}/metrics", response_model=shapes.Metrics)
async def read_metrics(
    cohort_id: str,
    request: Request,
    api: CohortApiDep,
    principal: PrincipalDep,
    metric: Metric,
    company_id: CompanyId = None,
    start_date: Annotated[date | None, Query(alias="startDate")] = None,
    end_date: Annotated[date | None, Query(alias="endDate")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=40)] = None,
) -> Response:
    """A metric of a cohort, one row a period, ascending; both dates are included."""
    company = require_company(principal, company_id)
    start, end = bounded(start_date or EARLIEST), bounded(end_date or LATEST)
    if start > end:
        raise Refusal(400, f"startDate {start} is after endDate {end}")
    if cursor is not None:
        start = max(start, day_behind(cursor))
    cohorts = await api.directory.cohorts(company)
    (found,) = cohorts.find([cohort_id])

    async def compute() -> shapes.Metrics:
        as_of = api.as_of()
        # One more than asked for tells whether there is a next page.
        rows = await api.figures.metrics(company, found, metric, start, bounded(end), limit + 1)
        page = rows[:limit]
        answer = shapes.Metrics(
            cohort_id=found,
            metric_name=metric,
            data=[shapes.MetricPeriod(**row._asdict()) for row in page],
            count=len(page),
            as_of=as_of,
        )
        if len(rows) > limit:
            answer.next_cursor = page[-1].period_start.isoformat()
        return answer

    asked = {"cohort": found, "metric": metric, "start": start, "end": end, "limit": limit}
    question = Question.of(company, "metrics", asked)
    return await api.answers.give(request, cohorts, "metrics", question, compute)


@router.get("/{cohort_id}/trends", response_model=shapes.Trends)
async def read_trends(
    cohort_id: str,
    request: Request,
    api: CohortApiDep,
    principal: PrincipalDep,
    metric: Metric,
    company_id: CompanyId = None,
    periods: Annotated[int, Query(ge=1, le=120)] = 12,
    timezone: Timezone = "UTC",
) -> Response:
    """Direction of a cohort's metric over its latest periods, ascending."""
    company = require_company(principal, company_id)
    today = datetime.now(parse_zone(timezone)).date()
    cohorts = await api.directory.cohorts(company)
    (found,) = cohorts.find([cohort_id])

    async def compute() -> shapes.Trends:
        as_of = api.as_of()
        values = await api.figures.trends(company, found, metric, periods)
        return shapes.Trends(
            cohort_id=found,
            metric_name=metric,
            trends=[shapes.Trend(**trend) for trend in describe_trends(values, today)],
            count=len(values),
            as_of=as_of,
        )

    # The day is part of the question: tomorrow a period may be complete without new data.
    asked = {"cohort": found, "metric": metric, "periods": periods, "today": today}
    question = Question.of(company, "trends", asked)
    return await api.answers.give(request, cohorts, "metrics", question, compute)


@router.get("/{cohort_id}/overview", response_model=shapes.Overview)
async def read_overview(
    cohort_id: str,
    request: Request,
    api: CohortApiDep,
    principal: PrincipalDep,
    company_id: CompanyId = None,
    period_start: Annotated[date | None, Query(alias="periodStart")] = None,
) -> Response:
    """Every metric of a cohort in one period, by default the latest that it has data of."""
    company = require_company(principal, company_id)
    cohorts = await api.directory.cohorts(company)
    (found,) = cohorts.find([cohort_id])

    async def compute() -> shapes.Overview:
        as_of = api.as_of()
        period, means = await api.figures.overview(company, found, period_start)
        return shapes.Overview(cohort_id=found, period_start=period, metrics=means, as_of=as_of)

    question = Question.of(company, "overview", {"cohort": found, "period": period_start})
    return await api.answers.give(request, cohorts, "metrics", question, compute)


@router.get("/{cohort_id}/retention", response_model=shapes.Retention)
async def read_retention(
    cohort_id: str,
    request: Request,
    api: CohortApiDep,
    principal: PrincipalDep,
    event: Annotated[str, Query(min_length=1, max_length=300, description="event type")],
    company_id: CompanyId = None,
    period: PeriodName = "week",
    periods: Annotated[int, Query(ge=1, le=120)] = 12,
    timezone: Timezone = "UTC",
) -> Response:
    """How many of a cohort's members had an event, in each of the latest periods, ascending.

    The last period is the current one, and not complete. Events are kept for
    `RETENTION_EVENTS_DAYS`; earlier periods have none.
    """
    company = require_company(principal, company_id)
    spans = latest_spans(period, periods, datetime.now(UTC), parse_zone(timezone))
    cohorts = await api.directory.cohorts(company)
    (found,) = cohorts.find([cohort_id])

    async def compute() -> shapes.Retention:
        as_of = api.as_of()
        size, returned = await api.figures.retention(company, found, event, spans)
        rows = [
            shapes.RetentionPeriod(
                period_start=span.start,
                returned=returned.get(span.start_ms, 0),
                rate=returned.get(span.start_ms, 0) / size if size else None,
                complete=number < periods,
            )
            for number, span in enumerate(spans[:-1], 1)
        ]
        return shapes.Retention(
            cohort_id=found,
            event=event,
            period=period,
            timezone=timezone,
            cohort_size=size,
            data=rows,
            count=len(rows),
            as_of=as_of,
        )

    asked = {"cohort": found, "event": event, "period": period, "zone": timezone}
    # The current period is part of the question: the next one begins without new data.
    question = Question.of(
        company, "retention", asked | {"periods": periods, "current": spans[-2].start}
    )
    return await api.answers.give(request, cohorts, "events", question, compute)
