"""Cohorts and members in Postgres, which is their truth: read, made, changed and removed here."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg
from psycopg import errors
from psycopg.types.json import Jsonb

from cohort_filters import CohortFilters, User, compile_predicate
from sql import statement
from stream_api.directory import unknown_cohort
from stream_api.errors import Refusal
from stream_api.platform import Platform, PlatformAwayError

NO_USER = "00000000-0000-0000-0000-000000000000"


class CohortRow(NamedTuple):
    """One cohort, as it is in Postgres; `members` counts them."""

    id: str
    company_id: str
    name: str
    description: str | None
    filters: Any
    created_at: datetime
    updated_at: datetime
    created_by: str | None
    members: int
    filter_error: str | None


class MemberRow(NamedTuple):
    """One member; `user` is what filters can ask for."""

    user_id: str
    joined_at: datetime
    joined_by: str | None
    user: User


class CohortStore:
    """Statements on cohorts of one company at a time; another company's cohort is unknown.

    Every method raises Refusal 503 when Postgres does not answer, and 404 for an unknown cohort.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def page(self, company_id: str, after: str, limit: int) -> list[CohortRow]:
        """Cohorts by name, behind the name `after`."""
        async with self._transaction() as connection:
            rows = await _rows(
                connection,
                "select_cohort_page",
                {"company_id": company_id, "after": after, "row_limit": limit},
            )
        return [_cohort(row) for row in rows]

    async def get(self, company_id: str, cohort_id: str) -> CohortRow:
        """One cohort."""
        async with self._transaction() as connection:
            return await _get(connection, company_id, cohort_id)

    async def create(
        self,
        company_id: str,
        name: str,
        description: str | None,
        filters: CohortFilters,
        created_by: str | None,
    ) -> tuple[CohortRow, bool]:
        """A new cohort, and whether its members are there already.

        Raises:
            Refusal: 409 when the company has a cohort of that name.
        """
        async with self._transaction() as connection:
            rows = await _rows(
                connection,
                "insert_cohort",
                {
                    "company_id": company_id,
                    "name": name,
                    "description": description,
                    "filters": Jsonb(filters.as_json()),
                    "created_by": created_by,
                },
            )
            evaluated = await _evaluate(connection, company_id, str(rows[0][0]), filters)
            return await _get(connection, company_id, str(rows[0][0])), evaluated

    async def change(
        self, company_id: str, cohort_id: str, changes: Mapping[str, Any]
    ) -> tuple[CohortRow, bool]:
        """A cohort with `name`, `description` or `filters` changed, and whether members followed.

        Raises:
            Refusal: 409 when the company has another cohort of that name.
        """
        filters: CohortFilters | None = changes.get("filters")
        async with self._transaction() as connection:
            rows = await _rows(
                connection,
                "update_cohort",
                {
                    "company_id": company_id,
                    "cohort_id": _known(company_id, cohort_id),
                    "has_name": "name" in changes,
                    "name": changes.get("name"),
                    "has_description": "description" in changes,
                    "description": changes.get("description"),
                    "has_filters": filters is not None,
                    "filters": None if filters is None else Jsonb(filters.as_json()),
                },
            )
            if not rows:
                raise unknown_cohort(company_id, cohort_id)
            found = str(rows[0][0])
            evaluated = filters is None or await _evaluate(connection, company_id, found, filters)
            return await _get(connection, company_id, found), evaluated

    async def remove(self, company_id: str, cohort_id: str) -> str:
        """Remove a cohort with its members; its id as Postgres writes it."""
        async with self._transaction() as connection:
            rows = await _rows(
                connection,
                "delete_cohort",
                {"company_id": company_id, "cohort_id": _known(company_id, cohort_id)},
            )
        if not rows:
            raise unknown_cohort(company_id, cohort_id)
        return str(rows[0][0])

    async def members(
        self, company_id: str, cohort_id: str, after: str | None, limit: int
    ) -> tuple[CohortRow, list[MemberRow]]:
        """The cohort, and its members by user id, behind the user `after`."""
        async with self._transaction() as connection:
            cohort = await _get(connection, company_id, cohort_id)
            rows = await _rows(
                connection,
                "select_cohort_members",
                {
                    "company_id": company_id,
                    "cohort_id": cohort.id,
                    "after": after or NO_USER,
                    "row_limit": limit,
                },
            )
        return cohort, [MemberRow(row[0], _utc(row[1]), row[2], User(*row[3:])) for row in rows]

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[psycopg.AsyncConnection]:
        try:
            async with self._platform.transaction() as connection:
                yield connection
        except errors.UniqueViolation:
            raise Refusal(409, "the company has a cohort of that name; choose another") from None
        except PlatformAwayError:
            raise Refusal(503, "Postgres does not answer; try again", 5) from None


async def _evaluate(
    connection: psycopg.AsyncConnection, company_id: str, cohort_id: str, filters: CohortFilters
) -> bool:
    """Let members follow filters in the transaction that writes them, where that is quick.

    Not while the pipeline evaluates, nor past the statement's time: its next run, seconds later,
    takes the change along in any case.
    """
    if not (await _rows(connection, "try_membership_lock", {}))[0][0]:
        return False
    predicate = compile_predicate(filters)
    try:
        # A savepoint: without the members the cohort itself is still written.
        async with connection.transaction():
            await connection.execute(
                statement("postgres/evaluate_cohort"),
                {
                    "company_id": company_id,
                    "cohort_id": cohort_id,
                    "path": predicate.path,
                    "variables": json.dumps(predicate.variables),
                    "languages": predicate.languages,
                },
            )
    # Too long, or a user was deleted meanwhile.
    except (errors.QueryCanceled, errors.ForeignKeyViolation):
        return False
    return True


async def _get(connection: psycopg.AsyncConnection, company_id: str, cohort_id: str) -> CohortRow:
    rows = await _rows(
        connection,
        "select_cohort",
        {"company_id": company_id, "cohort_id": _known(company_id, cohort_id)},
    )
    if not rows:
        raise unknown_cohort(company_id, cohort_id)
    return _cohort(rows[0])


async def _rows(
    connection: psycopg.AsyncConnection, name: str, parameters: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    return await (await connection.execute(statement(f"postgres/{name}"), parameters)).fetchall()


def _known(company_id: str, cohort_id: str) -> str:
    """The id as Postgres reads it; text that is no UUID is no cohort's id."""
    try:
        return str(uuid.UUID(cohort_id))
    except ValueError:
        raise unknown_cohort(company_id, cohort_id) from None


def _cohort(row: tuple[Any, ...]) -> CohortRow:
    cohort = CohortRow(*row)
    return cohort._replace(created_at=_utc(cohort.created_at), updated_at=_utc(cohort.updated_at))


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
