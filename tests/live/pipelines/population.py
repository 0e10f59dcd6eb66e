"""Users, cohorts and memberships for the tests, and what each database holds of them.

The two `…_state` functions have SQL of their own, so that they can't share a fault with the sync.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
from clickhouse_connect.driver.client import Client
from psycopg.types.json import Jsonb


def add_users(
    pg: psycopg.Connection,
    company: str,
    count: int = 1,
    *,
    language: str | None = None,
    program: str | None = None,
    role: str | None = None,
) -> list[UUID]:
    rows = pg.execute(
        "INSERT INTO users (company_id, language, program, role) "
        "SELECT %s, %s, %s, %s FROM generate_series(1, %s) RETURNING id",
        (company, language, program, role, count),
    ).fetchall()
    return [row[0] for row in rows]


def add_cohort(
    pg: psycopg.Connection, company: str, name: str, filters: object | None = None
) -> UUID:
    [(cohort,)] = pg.execute(
        "INSERT INTO cohorts (company_id, name, filters) VALUES (%s, %s, %s) RETURNING id",
        (company, name, Jsonb({} if filters is None else filters)),
    ).fetchall()
    return UUID(str(cohort))


def add_members(pg: psycopg.Connection, cohort: UUID, users: list[UUID]) -> None:
    pg.execute(
        "INSERT INTO user_cohorts (user_id, cohort_id, company_id, joined_by) "
        "SELECT unnest(%s::uuid[]), id, company_id, 'ann' FROM cohorts WHERE id = %s",
        (users, cohort),
    )


def set_company_policy(
    pg: psycopg.Connection, dataset: str, company: str, days: int, reason: str | None = None
) -> None:
    """A company's own retention, as an operator writes it."""
    pg.execute(
        "INSERT INTO retention_policies (dataset, company_id, days, reason) "
        "VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (dataset, company_id) DO UPDATE SET days = excluded.days",
        (dataset, company, days, reason),
    )


def members_of(pg: psycopg.Connection, cohort: UUID) -> dict[UUID, str | None]:
    """User → who added them."""
    return dict(
        pg.execute(
            "SELECT user_id, joined_by FROM user_cohorts WHERE cohort_id = %s", (cohort,)
        ).fetchall()
    )


@dataclass(frozen=True)
class State:
    """All rows, in the warehouse's form; equal states are equal rows, none twice."""

    cohorts: list[tuple[object, ...]]
    members: list[tuple[object, ...]]


def platform_state(pg: psycopg.Connection) -> State:
    cohorts = pg.execute(
        "SELECT id, company_id, name, description, filters, created_at, updated_at FROM cohorts"
    ).fetchall()
    members = pg.execute(
        "SELECT user_id, cohort_id, company_id, joined_at FROM user_cohorts"
    ).fetchall()
    return State(
        sorted(
            (
                str(cohort),
                company,
                name,
                description or "",
                json.dumps(filters, ensure_ascii=False, separators=(",", ":")),
                _milliseconds(created),
                _milliseconds(updated),
            )
            for cohort, company, name, description, filters, created, updated in cohorts
        ),
        sorted(
            (str(user), str(cohort), company, _milliseconds(joined))
            for user, cohort, company, joined in members
        ),
    )


def warehouse_state(ch: Client) -> State:
    cohorts = ch.query(
        "SELECT cohort_id, company_id, name, description, filters, created_at, updated_at "
        "FROM cohorts FINAL"
    ).result_rows
    members = ch.query(
        "SELECT user_id, cohort_id, company_id, joined_at FROM user_cohorts FINAL"
    ).result_rows
    return State(
        sorted(
            (*row[:5], row[5].replace(tzinfo=UTC), row[6].replace(tzinfo=UTC)) for row in cohorts
        ),
        sorted((*row[:3], row[3].replace(tzinfo=UTC)) for row in members),
    )


def _milliseconds(moment: datetime) -> datetime:
    utc = moment.astimezone(UTC)
    return utc - timedelta(microseconds=utc.microsecond % 1000)
