"""Shapes of the cohort API's answers and bodies, with examples; `/openapi.json` is made of them.

Names are camelCase outside. What an answer does not have (a next page, a small sample) is left out.
Half of it is examples; it stays one page, because a shape is found by its name, not by its route.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from cohort_filters import CohortFilters, parse_filters
from config.names import COMPANY_ID_PATTERN

ID = "8c1f7a52-6a0e-4c57-9e0e-1b2a7f3f5d10"
OTHER_ID = "2b9d4a1e-97f1-4f0d-8a44-5b0f6f0c7e21"
AS_OF = "2025-11-24T10:15:00.000+00:00"

# Control characters have no place in a name, and Postgres refuses NUL.
Name = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=200, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]+$"
    ),
]
Description = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]
Filters = Annotated[CohortFilters, BeforeValidator(parse_filters)]
CohortId = Annotated[str, Field(min_length=1, max_length=100)]
CompanyIdText = Annotated[str, Field(pattern=COMPANY_ID_PATTERN)]


class Shape(BaseModel):
    """camelCase outside, and nothing unknown in a body."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid"
    )


def example(**values: Any) -> ConfigDict:
    """The configuration of a shape with one example."""
    return ConfigDict(json_schema_extra={"examples": [values]})


class Answer(Shape):
    as_of: Annotated[datetime, Field(description="the answer includes everything up to then")]


class Page(Answer):
    count: Annotated[int, Field(ge=0, description="rows of this page")]
    next_cursor: Annotated[str, Field(description="only when there is a next page")] = ""


class MetricPeriod(Shape):
    period_start: date
    avg_value: float | None
    sample_size: Annotated[int, Field(description="users; each is one observation")]
    p50: float | None
    p75: float | None
    p95: float | None
    min_value: float | None
    max_value: float | None
    std_dev: Annotated[float | None, Field(description="the sample's; null for one user")]


class Metrics(Page):
    model_config = example(
        cohortId=ID,
        metricName="integration_score",
        data=[
            {
                "periodStart": "2025-11-01",
                "avgValue": 0.71,
                "sampleSize": 24,
                "p50": 0.7,
                "p75": 0.82,
                "p95": 0.93,
                "minValue": 0.31,
                "maxValue": 0.97,
                "stdDev": 0.14,
            }
        ],
        count=1,
        asOf=AS_OF,
    )
    cohort_id: str
    metric_name: str
    data: list[MetricPeriod]


class Trend(Shape):
    period_start: date
    value: float | None
    trend: Literal["up", "down", "stable"]
    change_percent: Annotated[float | None, Field(description="null after a value of 0")]
    complete: Annotated[bool, Field(description="false while the period is still filling")]


class Trends(Answer):
    model_config = example(
        cohortId=ID,
        metricName="integration_score",
        trends=[
            {
                "periodStart": "2025-10-01",
                "value": 0.62,
                "trend": "stable",
                "changePercent": 0.0,
                "complete": True,
            },
            {
                "periodStart": "2025-11-01",
                "value": 0.71,
                "trend": "up",
                "changePercent": 14.5,
                "complete": False,
            },
        ],
        count=2,
        asOf=AS_OF,
    )
    cohort_id: str
    metric_name: str
    trends: list[Trend]
    count: int


class Overview(Answer):
    model_config = example(
        cohortId=ID,
        periodStart="2025-11-01",
        metrics={"integration_score": 0.71, "social_capital": 3.4},
        asOf=AS_OF,
    )
    cohort_id: str
    period_start: Annotated[date | None, Field(description="null when there is no data")]
    metrics: Mapping[str, float | None]


class RankedCohort(Shape):
    cohort_id: str
    cohort_name: str
    value: float | None
    sample_size: int
    std_dev: float | None
    ci95: Annotated[list[float] | None, Field(description="[low, high]; null for one user")]
    rank: Annotated[int | None, Field(description="1 is the highest; null for a small sample")]
    small_sample: Annotated[Literal[True] | None, Field(description="only when under 5 users")] = (
        None
    )


class Pair(Shape):
    a: str
    b: str
    difference: Annotated[float | None, Field(description="a minus b")]
    ci95: Annotated[list[float] | None, Field(description="Welch's, of the difference")]
    effect_size: Annotated[float | None, Field(description="Hedges' g")]
    p_value: Annotated[float | None, Field(description="of Welch's test")]
    p_adjusted: Annotated[float | None, Field(description="by Holm, over all pairs")]


class Comparison(Shape):
    metric_name: str
    period_start: date | None
    cohorts: list[RankedCohort]
    pairs: list[Pair]


_RANKED = {
    "cohortId": ID,
    "cohortName": "Ukrainian mentees",
    "value": 0.71,
    "sampleSize": 24,
    "stdDev": 0.14,
    "ci95": [0.65, 0.77],
    "rank": 1,
}


class Comparisons(Answer):
    model_config = example(
        comparison={
            "metricName": "integration_score",
            "periodStart": "2025-11-01",
            "cohorts": [_RANKED],
            "pairs": [],
        },
        cohortCount=1,
        asOf=AS_OF,
    )
    comparison: Comparison
    cohort_count: int


class Top(Answer):
    model_config = example(
        metricName="integration_score",
        periodStart="2025-11-01",
        cohorts=[_RANKED],
        count=1,
        asOf=AS_OF,
    )
    metric_name: str
    period_start: date | None
    cohorts: list[RankedCohort]
    count: int


class RetentionPeriod(Shape):
    period_start: date
    returned: Annotated[int, Field(description="members with at least one such event")]
    rate: Annotated[float | None, Field(description="returned / cohortSize; null when empty")]
    complete: bool


class Retention(Answer):
    model_config = example(
        cohortId=ID,
        event="journey.step_completed",
        period="week",
        timezone="Europe/Oslo",
        cohortSize=24,
        data=[{"periodStart": "2025-11-17", "returned": 18, "rate": 0.75, "complete": True}],
        count=1,
        asOf=AS_OF,
    )
    cohort_id: str
    event: str
    period: Literal["day", "week", "month"]
    timezone: str
    cohort_size: int
    data: list[RetentionPeriod]
    count: int


class CompareBody(Shape):
    """Which cohorts, by which metric, and when."""

    model_config = example(cohortIds=[ID, OTHER_ID], metric="integration_score")
    cohort_ids: Annotated[list[CohortId], Field(min_length=1, max_length=50)]
    metric: Annotated[str, Field(min_length=1, max_length=200)]
    period_start: date | None = None
    company_id: CompanyIdText | None = None


class CohortBody(Shape):
    """A new cohort. Without filters it has only the members that somebody adds."""

    model_config = example(
        name="Ukrainian mentees", filters={"language": "uk", "program": "mentorship"}
    )
    name: Name
    description: Description | None = None
    filters: Filters = CohortFilters()
    company_id: CompanyIdText | None = None


class CohortChange(Shape):
    """What to change; the rest stays as it is."""

    model_config = example(filters={"language": ["uk", "ru"], "program": "mentorship"})
    # No default that is a value: null is refused, and leaving it out changes nothing.
    name: Name = Field(default=None)  # type: ignore[assignment]
    description: Description | None = None
    filters: Filters = Field(default=None)  # type: ignore[assignment]
    company_id: CompanyIdText | None = None


class Cohort(Shape):
    cohort_id: str
    company_id: str
    name: str
    description: str | None
    filters: Annotated[Any, Field(description="as in the body of POST /cohort")]
    filter_error: Annotated[str | None, Field(description="why members do not follow filters")]
    members: int
    created_at: datetime
    updated_at: datetime
    created_by: str | None


_COHORT = {
    "cohortId": ID,
    "companyId": "acme",
    "name": "Ukrainian mentees",
    "description": None,
    "filters": {"language": "uk", "program": "mentorship"},
    "filterError": None,
    "members": 24,
    "createdAt": "2025-09-01T08:00:00Z",
    "updatedAt": "2025-09-01T08:00:00Z",
    "createdBy": "user-7",
}


class CohortAnswer(Answer):
    model_config = example(cohort=_COHORT, asOf=AS_OF)
    cohort: Cohort
    membership: Annotated[
        Literal["done", "pending"] | None,
        Field(description="after a change: members follow already, or within seconds"),
    ] = None


class CohortList(Page):
    model_config = example(cohorts=[_COHORT], count=1, asOf=AS_OF)
    cohorts: list[Cohort]


class RemovedCohort(Answer):
    model_config = example(cohortId=ID, deleted=True, asOf=AS_OF)
    cohort_id: str
    deleted: Literal[True]


class WhyPart(Shape):
    key: Annotated[str, Field(description="such as language, or or.0.program")]
    wanted: Any
    actual: str | None
    matched: bool


class Why(Shape):
    by: Annotated[Literal["filter", "person"], Field(description="who made the membership")]
    filters_match: Annotated[bool, Field(description="what the filters say of the user now")]
    parts: list[WhyPart]


class Member(Shape):
    user_id: str
    joined_at: datetime
    joined_by: Annotated[str | None, Field(description="'filter', or who added the user")]
    why: Annotated[Why | None, Field(description="only with explain=true")] = None


class Members(Page):
    model_config = example(
        cohortId=ID,
        members=[
            {
                "userId": OTHER_ID,
                "joinedAt": "2025-09-01T08:00:00Z",
                "joinedBy": "filter",
                "why": {
                    "by": "filter",
                    "filtersMatch": True,
                    "parts": [{"key": "language", "wanted": "uk", "actual": "uk", "matched": True}],
                },
            }
        ],
        count=1,
        asOf=AS_OF,
    )
    cohort_id: str
    members: list[Member]
