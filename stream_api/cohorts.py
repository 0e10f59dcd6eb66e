"""Figures of cohorts, out of the warehouse. Which cohorts there are says `directory.py`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from stream_api.errors import Refusal
from stream_api.periods import Span
from stream_api.warehouse import QueryLimitError, Warehouse, WarehouseAwayError

# A change of less than this is noise on a dashboard: contracts of the cohort API.
STABLE_PERCENT = 5.0
EARLIEST = date(1970, 1, 1)
LATEST = date(2149, 6, 6)  # the last day of ClickHouse's Date
# Below the reads of the sidecar's other parts: nobody waits longer for a figure.
SETTINGS: dict[str, Any] = {"max_execution_time": 10, "max_memory_usage": 500_000_000}
# It has just cost ten seconds or 500 MB: not at once again.
LIMIT_RETRY_SECONDS = 30


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
    """Reads for one company at a time; the company is a bound predicate of every statement.

    Every method raises Refusal 503 when ClickHouse does not answer, or not within its limits.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def metrics(
        self, company_id: str, cohort_id: str, metric: str, start: date, end: date, limit: int
    ) -> list[Period]:
        """Finished rows of a metric, ascending by period, both ends included."""
        rows = await self._rows(
            "select_cohort_metrics",
            company_id=company_id,
            cohort_id=cohort_id,
            metric=metric,
            start_date=start,
            end_date=end,
            row_limit=limit,
        )
        return [Period(*row) for row in rows]

    async def trends(
        self, company_id: str, cohort_id: str, metric: str, periods: int
    ) -> list[tuple[date, float]]:
        """Period and mean of the newest `periods` periods with data, ascending."""
        rows = await self._rows(
            "select_cohort_trends",
            company_id=company_id,
            cohort_id=cohort_id,
            metric=metric,
            row_limit=periods,
        )
        return [(row[0], float(row[1])) for row in reversed(rows)]

    async def overview(
        self, company_id: str, cohort_id: str, period: date | None
    ) -> tuple[date | None, dict[str, float]]:
        """The period, by default the cohort's own latest, and the means of all metrics in it."""
        if period is None:
            rows = await self._rows(
                "select_cohort_latest_period", company_id=company_id, cohort_id=cohort_id
            )
            period = _latest(rows)
        if period is None:
            return None, {}
        rows = await self._rows(
            "select_cohort_overview",
            company_id=company_id,
            cohort_id=cohort_id,
            period_start=bounded(period),
        )
        return period, {str(name): float(mean) for name, mean in rows}

    async def latest_period(
        self, company_id: str, cohort_ids: Sequence[str], metric: str
    ) -> date | None:
        """The latest period in which any of the cohorts has data."""
        rows = await self._rows(
            "select_latest_period",
            company_id=company_id,
            cohort_ids=list(cohort_ids),
            metric=metric,
        )
        return _latest(rows)

    async def latest_period_of_company(self, company_id: str, metric: str) -> date | None:
        """The latest period in which a member of any cohort has data."""
        return _latest(
            await self._rows("select_company_latest_period", company_id=company_id, metric=metric)
        )

    async def groups(
        self, company_id: str, names: dict[str, str], metric: str, period: date
    ) -> list[Group]:
        """Mean, size and deviation of each of these cohorts that has data in the period."""
        rows = await self._rows(
            "select_cohort_comparison",
            company_id=company_id,
            cohort_ids=list(names),
            metric=metric,
            period_start=bounded(period),
        )
        return [Group(str(i), names[str(i)], float(m), int(n), sd) for i, m, n, sd in rows]

    async def groups_of_company(
        self, company_id: str, names: dict[str, str], metric: str, period: date
    ) -> list[Group]:
        """As `groups`, of every cohort in `names`; one that was just deleted is left out."""
        rows = await self._rows(
            "select_company_comparison",
            company_id=company_id,
            metric=metric,
            period_start=bounded(period),
        )
        return [
            Group(str(i), names[str(i)], float(m), int(n), sd)
            for i, m, n, sd in rows
            if str(i) in names
        ]

    async def retention(
        self, company_id: str, cohort_id: str, event: str, spans: Sequence[Span]
    ) -> tuple[int, dict[int, int]]:
        """Members of the cohort, and how many had the event, by a period's first millisecond.

        Args:
            spans: ascending; the last one only ends the one before.
        """
        members = await self._rows(
            "count_cohort_members", company_id=company_id, cohort_id=cohort_id
        )
        starts = [span.start_ms for span in spans[:-1]]
        rows = await self._rows(
            "select_cohort_retention",
            company_id=company_id,
            cohort_id=cohort_id,
            event=event,
            starts_ms=starts,
            from_ms=starts[0],
            until_ms=spans[-1].start_ms,
        )
        return int(members[0][0]), {int(start): int(users) for start, users in rows}

    async def _rows(self, name: str, **parameters: Any) -> Sequence[Sequence[Any]]:
        try:
            return await self._warehouse.rows(name, parameters, **SETTINGS)
        except QueryLimitError as error:
            raise Refusal(
                503,
                f"the question needs more of ClickHouse than one may have: {error}; ask for fewer "
                "cohorts, or a shorter time; under load it may pass later",
                LIMIT_RETRY_SECONDS,
            ) from None
        except WarehouseAwayError as error:
            raise Refusal(503, f"ClickHouse does not answer: {error}", 5) from None


def bounded(day: date) -> date:
    """A day that ClickHouse's Date can hold; nothing is stored outside of it."""
    return min(max(day, EARLIEST), LATEST)


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


def _latest(rows: Sequence[Sequence[Any]]) -> date | None:
    """Of `max(period_start), count()`: without rows the engine's maximum is the first of 1970."""
    latest, count = rows[0]
    return latest if count else None
