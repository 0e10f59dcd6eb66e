"""What the routes of the cohort API share: its parts, and the parameters that several have."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from stream_api.cohort_api import CohortApi
from stream_api.errors import Refusal
from stream_api.routes.access import SidecarDep

CompanyId = Annotated[
    str | None,
    Query(alias="companyId", max_length=100, description="needed when authentication is off"),
]
Metric = Annotated[str, Query(min_length=1, max_length=200, description="metric name")]
Timezone = Annotated[
    str,
    Query(
        max_length=64, description="IANA name; days begin at its midnight", examples=["Europe/Oslo"]
    ),
]


def require_cohort_api(sidecar: SidecarDep) -> CohortApi:
    """The parts of the cohort API; refuses where the warehouse is switched off."""
    if sidecar.cohort_api is None:
        raise Refusal(501, "the warehouse is switched off; set CLICKHOUSE_ENABLED=true")
    return sidecar.cohort_api


CohortApiDep = Annotated[CohortApi, Depends(require_cohort_api)]
