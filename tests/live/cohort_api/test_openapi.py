"""The published description of the API: whatever fits it or does not, no answer is a fault."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import response_schema_conformance

from config.settings import Settings
from tests.live.sidecar import SidecarProcess

EXAMPLES = 12


@pytest.fixture
def described(settings: Settings) -> Iterator[SidecarProcess]:
    """A sidecar without authentication, so that requests get past it; its streams end at once."""
    with SidecarProcess(
        settings, STREAM_MAX_LIFETIME_S="0.05", COHORT_QUERIES_PER_MINUTE="1000000"
    ) as process:
        yield process


def test_no_request_that_the_description_allows_or_forbids_is_a_fault(
    described: SidecarProcess,
) -> None:
    made = httpx.post(
        f"{described.url}/cohort", json={"companyId": "company-a", "name": "first"}
    ).json()
    schema = schemathesis.openapi.from_url(f"{described.url}/openapi.json")
    schema.config.update(base_url=described.url)
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) > 15
    for operation in operations:
        _check(operation, GenerationMode.POSITIVE, made["cohort"]["cohortId"])
        # Some operations take any text, so that there is nothing that their description forbids.
        with contextlib.suppress(Unsatisfiable):
            _check(operation, GenerationMode.NEGATIVE, made["cohort"]["cohortId"])


def _check(operation: Any, mode: GenerationMode, cohort: str) -> None:
    strategy = operation.as_strategy(generation_mode=mode)

    @given(case=strategy)
    @hypothesis_settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        # Random ids and companies end at the door; half of the cases go on to what is behind it.
        if "cohort_id" in case.path_parameters and len(repr(case.query)) % 2:
            case.path_parameters["cohort_id"] = cohort
            case.query = {**(case.query or {}), "companyId": "company-a"}
        case.call_and_validate(checks=[not_a_server_error, response_schema_conformance], timeout=20)

    check()


def test_every_route_of_cohorts_has_models_and_an_example(described: SidecarProcess) -> None:
    document = httpx.get(f"{described.url}/openapi.json").json()
    shapes = document["components"]["schemas"]
    routes = {
        (path, method): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if path.startswith("/cohort")
    }
    assert len(routes) == 12
    for (path, method), operation in routes.items():
        success = "201" if (path, method) == ("/cohort", "post") else "200"
        named = operation["responses"][success]["content"]["application/json"]["schema"]["$ref"]
        assert shapes[named.rpartition("/")[2]]["examples"], (path, method)
        assert operation["summary"]
        for status in ("400", "401", "403", "501", "503"):
            assert "ErrorBody" in str(operation["responses"][status]), (path, method, status)
    # The filters' own schema is part of it, with its keys by the names that a request uses.
    filters = shapes["CohortFilters"]["properties"]
    assert set(filters) == {"language", "program", "role", "joined", "and", "or", "not"}
