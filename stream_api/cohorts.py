"""Figures of cohorts: which cohorts a company has (Postgres) and what they measure (ClickHouse)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from stream_api.errors import Refusal
from stream_api.platform import Platform, PlatformAwayError
from stream_api.warehouse import Warehouse, WarehouseAwayError

# A change of less than this is noise on a dashboard: contracts of the cohort API.
STABLE_PERCENT = 5.0
EARLIEST = date(1970, 1, 1)
LATEST = date(2149, 6, 6)  # the last day of ClickHouse's Date


class Period(NamedTuple):
    """One cohort, metric and period; values are of users, who are one observation each."""

    period_start: date
    avg_value: float
    sample_size: int
    p50: float
    p75: float
    p95: float
    min_value: float
    max_value: float
    std_dev: float | None


class Group(NamedTuple):
    """One cohort of a comparison."""

    cohort_id: str
    name: str
    mean: float
    size: int
    std_dev: float | None


class CohortFigures:
    """Reads for one company at a time; the company is a bound predicate of every statement."""

    def __init__(self, platform: Platform, warehouse: Warehouse) -> None:
        self._platform = platform
        self._warehouse = warehouse

    async def names(self, company_id: str, cohort_ids: Sequence[str]) -> dict[str, str]:
        """Names of the company's cohorts, by id in the order asked.

        Raises:
            Refusal: 404 naming the first id that the company has no cohort of.
        """
        known: dict[str, str] = {}
        valid = [text for text in cohort_ids if _is_uuid(text)]
        if valid:
            try:
                rows = await self._platform.rows(
                    "select_cohorts_by_id", {"cohort_ids": valid, "company_id": company_id}
                )
            except PlatformAwayError:
                raise Refusal(503, "Postgres does not answer; try again", 5) from None
            known = {str(row[0]): str(row[1]) for row in rows}
        found = {}
        for text in cohort_ids:
            key = str(uuid.UUID(text)) if _is_uuid(text) else text
            if key not in known:
                raise Refusal(404, f"company {company_id} has no cohort {text[:60]}")
            found[key] = known[key]
        return found

    async def metrics(
        self, company_id: str, cohort_id: str, metric: str, start: date, end: date, limit: int
    ) -> list[Period]:
        """Finished rows of a metric, ascending by period, both ends included."""
        rows = await self._rows(
            "select_cohort_metrics",
            {
                "company_id": company_id,
                "cohort_id": cohort_id,
                "metric": metric,
                "start_date": start,
                "end_date": end,
                "row_limit": limit,
            },
        )
        return [Period(*row) for row in rows]

    async def trends(
        self, company_id: str, cohort_id: str, metric: str, periods: int
    ) -> list[tuple[date, float]]:
        """Period and mean of the newest `periods` periods with data, ascending."""
        rows = await self._rows(
            "select_cohort_trends",
            {
                "company_id": company_id,
                "cohort_id": cohort_id,
                "metric": metric,
                "row_limit": periods,
            },
        )
        return [(row[0], float(row[1])) for row in reversed(rows)]

    async def latest_period(
        self, company_id: str, cohort_ids: Sequence[str], metric: str
    ) -> date | None:
        """The latest period in which any of the cohorts has data."""
        rows = await self._rows(
            "select_latest_period",
            {"company_id": company_id, "cohort_ids": list(cohort_ids), "metric": metric},
        )
        latest, count = rows[0]
        return latest if count else None

    async def groups(
        self, company_id: str, names: dict[str, str], metric: str, period: date
    ) -> list[Group]:
        """Mean, size and deviation of each cohort that has data in the period."""
        rows = await self._rows(
            "select_cohort_comparison",
            {
                "company_id": company_id,
                "cohort_ids": list(names),
                "metric": metric,
                "period_start": period,
            },
        )
        return [Group(str(i), names[str(i)], float(m), int(n), sd) for i, m, n, sd in rows]

    async def _rows(self, name: str, parameters: dict[str, Any]) -> Sequence[Sequence[Any]]:
        try:
            return await self._warehouse.rows(name, parameters)
        except WarehouseAwayError as error:
            raise Refusal(503, f"ClickHouse does not answer: {error}", 5) from None


def describe_trends(
    values: Sequence[tuple[date, float]], today: date | None = None
) -> list[dict[str, Any]]:
    """Direction and change of each period against the one before.

    A bucket is complete when its length has passed; the length is the smallest distance between
    two neighbours, a day when there is only one.
    """
    today = today or datetime.now(UTC).date()
    gaps = [b[0] - a[0] for a, b in pairwise(values)]
    length = min(gaps, default=timedelta(days=1))
    described: list[dict[str, Any]] = []
    before: float | None = None
    for period, value in values:
        change: float | None = 0.0
        trend = "stable"
        if before is not None:
            change = (value - before) / abs(before) * 100 if before else None
            grown = value - before if change is None else change
            band = 0.0 if change is None else STABLE_PERCENT
            trend = "up" if grown > band else "down" if grown < -band else "stable"
        described.append(
            {
                "periodStart": period.isoformat(),
                "value": value,
                "trend": trend,
                "changePercent": change,
                "complete": period + length <= today,
            }
        )
        before = value
    return described


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
