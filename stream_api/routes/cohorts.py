"""`/cohort` and `/cohort/{id}`: list, read, create, change and remove cohorts; look at members."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from cohort_filters import CohortFilters, FilterError, explain, parse_filters
from stream_api.cohort_store import CohortRow, MemberRow
from stream_api.errors import Refusal, refusals
from stream_api.periods import cursor_of, id_behind, text_behind
from stream_api.routes import cohort_models as shapes
from stream_api.routes.access import PrincipalDep, require_company
from stream_api.routes.cohort_access import CohortApiDep, CompanyId

router = APIRouter(
    prefix="/cohort",
    tags=["cohorts"],
    responses=refusals(400, 401, 403, 501, 503),
)
UNKNOWN = refusals(404)
NAME_TAKEN = refusals(409)

Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(max_length=1200)]


@router.get("", response_model_exclude_unset=True)
async def list_cohorts(
    api: CohortApiDep,
    principal: PrincipalDep,
    company_id: CompanyId = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> shapes.CohortList:
    """A company's cohorts by name."""
    company = require_company(principal, company_id)
    as_of = datetime.now(UTC)
    rows = await api.store.page(company, text_behind(cursor) if cursor else "", limit + 1)
    page = rows[:limit]
    answer = shapes.CohortList(cohorts=[_cohort(row) for row in page], count=len(page), as_of=as_of)
    if len(rows) > limit:
        answer.next_cursor = cursor_of(page[-1].name)
    return answer


@router.post("", status_code=201, response_model_exclude_unset=True, responses=NAME_TAKEN)
async def create_cohort(
    body: shapes.CohortBody,
    response: Response,
    api: CohortApiDep,
    principal: PrincipalDep,
    company_id: CompanyId = None,
) -> shapes.CohortAnswer:
    """A new cohort; its members follow its filters, most often before this answers."""
    company = require_company(principal, body.company_id or company_id)
    row, evaluated = await api.store.create(
        company, body.name, body.description, body.filters, principal.user_id
    )
    api.directory.forget(company)
    response.headers["Location"] = f"/cohort/{row.id}"
    return _changed(row, evaluated)


@router.get("/{cohort_id}", response_model_exclude_unset=True, responses=UNKNOWN)
async def read_cohort(
    cohort_id: str, api: CohortApiDep, principal: PrincipalDep, company_id: CompanyId = None
) -> shapes.CohortAnswer:
    """One cohort."""
    company = require_company(principal, company_id)
    as_of = datetime.now(UTC)
    row = await api.store.get(company, cohort_id)
    return shapes.CohortAnswer(cohort=_cohort(row), as_of=as_of)


@router.patch("/{cohort_id}", response_model_exclude_unset=True, responses=UNKNOWN | NAME_TAKEN)
async def change_cohort(
    cohort_id: str,
    body: shapes.CohortChange,
    api: CohortApiDep,
    principal: PrincipalDep,
    company_id: CompanyId = None,
) -> shapes.CohortAnswer:
    """Change name, description or filters; what the body does not name stays."""
    company = require_company(principal, body.company_id or company_id)
    changes: dict[str, object] = {
        name: getattr(body, name)
        for name in ("name", "description", "filters")
        if name in body.model_fields_set
    }
    if not changes:
        raise Refusal(400, "nothing to change; give name, description or filters")
    row, evaluated = await api.store.change(company, cohort_id, changes)
    api.directory.forget(company)
    return _changed(row, evaluated)


@router.delete("/{cohort_id}", responses=UNKNOWN)
async def remove_cohort(
    cohort_id: str, api: CohortApiDep, principal: PrincipalDep, company_id: CompanyId = None
) -> shapes.RemovedCohort:
    """Remove a cohort and its memberships; users and their data stay."""
    company = require_company(principal, company_id)
    found = await api.store.remove(company, cohort_id)
    api.directory.forget(company)
    return shapes.RemovedCohort(cohort_id=found, deleted=True, as_of=datetime.now(UTC))


@router.get("/{cohort_id}/members", response_model_exclude_unset=True, responses=UNKNOWN)
async def list_members(
    cohort_id: str,
    api: CohortApiDep,
    principal: PrincipalDep,
    company_id: CompanyId = None,
    explain: Annotated[bool, Query(description="say of each member why")] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> shapes.Members:
    """Members by user id, and why they are: by which filters, or because a person added them."""
    company = require_company(principal, company_id)
    as_of = datetime.now(UTC)
    after = id_behind(cursor) if cursor else None
    cohort, rows = await api.store.members(company, cohort_id, after, limit + 1)
    page = rows[:limit]
    filters = _filters_of(cohort) if explain else None
    answer = shapes.Members(
        cohort_id=cohort.id,
        members=[_member(row, filters) for row in page],
        count=len(page),
        as_of=as_of,
    )
    if len(rows) > limit:
        answer.next_cursor = cursor_of(page[-1].user_id)
    return answer


def _cohort(row: CohortRow) -> shapes.Cohort:
    return shapes.Cohort(
        cohort_id=row.id,
        company_id=row.company_id,
        name=row.name,
        description=row.description,
        filters=row.filters,
        filter_error=row.filter_error,
        members=row.members,
        created_at=row.created_at,
        updated_at=row.updated_at,
        created_by=row.created_by,
    )


def _changed(row: CohortRow, evaluated: bool) -> shapes.CohortAnswer:
    return shapes.CohortAnswer(
        cohort=_cohort(row),
        membership="done" if evaluated else "pending",
        as_of=datetime.now(UTC),
    )


def _filters_of(cohort: CohortRow) -> CohortFilters:
    try:
        return parse_filters(cohort.filters)
    except FilterError:
        return CohortFilters()  # written by hand and wrong: `filterError` of the cohort says how


def _member(row: MemberRow, filters: CohortFilters | None) -> shapes.Member:
    member = shapes.Member(user_id=row.user_id, joined_at=row.joined_at, joined_by=row.joined_by)
    if filters is not None:
        matches, reasons = explain(filters, row.user)
        member.why = shapes.Why(
            by="filter" if row.joined_by == "filter" else "person",
            filters_match=matches,
            parts=[shapes.WhyPart(**reason._asdict()) for reason in reasons],
        )
    return member
