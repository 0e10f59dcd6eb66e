"""`POST /cohort/compare` and `GET /cohort/top`: cohorts of one company side by side."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from stream_api import statistics
from stream_api.errors import refusals
from stream_api.query_cache import Question
from stream_api.routes import cohort_models as shapes
from stream_api.routes.access import PrincipalDep, require_company
from stream_api.routes.cohort_access import CohortApiDep, CompanyId, Metric

router = APIRouter(
    prefix="/cohort",
    tags=["cohort figures"],
    responses=refusals(400, 401, 403, 404, 429, 501, 503),
)


@router.post("/compare", response_model=shapes.Comparisons)
async def compare_cohorts(
    body: shapes.CompareBody,
    request: Request,
    api: CohortApiDep,
    principal: PrincipalDep,
    company_id: CompanyId = None,
) -> Response:
    """Cohorts of one company side by side in one period, the latest with data by default."""
    company = require_company(principal, body.company_id or company_id)
    cohorts = await api.directory.cohorts(company)
    names = cohorts.find(body.cohort_ids)

    async def compute() -> shapes.Comparisons:
        as_of = api.as_of()
        period = body.period_start or await api.figures.latest_period(
            company, list(names), body.metric
        )
        groups = await api.figures.groups(company, names, body.metric, period) if period else []

        # In a thread: the first call imports scipy and statsmodels, which takes a second or more,
        # and the event loop belongs to the streams.
        def describe() -> shapes.Comparison:
            ranked, pairs = statistics.compare(groups)
            return shapes.Comparison(
                metric_name=body.metric,
                period_start=period,
                cohorts=[shapes.RankedCohort(**cohort) for cohort in ranked],
                pairs=[shapes.Pair(**pair) for pair in pairs],
            )

        return shapes.Comparisons(
            comparison=await asyncio.to_thread(describe), cohort_count=len(names), as_of=as_of
        )

    asked = {"cohorts": sorted(names), "metric": body.metric, "period": body.period_start}
    question = Question.of(company, "compare", asked)
    return await api.answers.give(request, cohorts, "metrics", question, compute)


@router.get("/top", response_model=shapes.Top)
async def read_top(
    request: Request,
    api: CohortApiDep,
    principal: PrincipalDep,
    metric: Metric,
    company_id: CompanyId = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    period_start: Annotated[date | None, Query(alias="periodStart")] = None,
) -> Response:
    """The company's cohorts by a metric, the highest first; small samples last and without rank."""
    company = require_company(principal, company_id)
    cohorts = await api.directory.cohorts(company)

    async def compute() -> shapes.Top:
        as_of = api.as_of()
        period = period_start or await api.figures.latest_period_of_company(company, metric)
        groups = (
            await api.figures.groups_of_company(company, dict(cohorts.names), metric, period)
            if period
            else []
        )
        ranked = (await asyncio.to_thread(statistics.rank, groups))[:limit]
        return shapes.Top(
            metric_name=metric,
            period_start=period,
            cohorts=[shapes.RankedCohort(**cohort) for cohort in ranked],
            count=len(ranked),
            as_of=as_of,
        )

    asked = {"metric": metric, "limit": limit, "period": period_start}
    question = Question.of(company, "top", asked)
    return await api.answers.give(request, cohorts, "metrics", question, compute)
