"""The demo's rows in Postgres: inserted at each start, changing nothing that is there."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg.types.json import Jsonb

from embedded.demo.events import HISTORY_PERIODS, week_of
from embedded.demo.people import COMPANIES, LANGUAGES, PROGRAMS, cohorts, users

Row = dict[str, object]


def insert(connection: psycopg.Connection, today: date) -> int:
    """Insert what is missing, in one transaction. Returns the number of new rows."""
    count = 0
    with connection.transaction(), connection.cursor() as cursor:
        for table, rows in _tables(today).items():
            cursor.executemany(_statement(f"insert_{table}"), rows)
            count += cursor.rowcount
    return count


def present(connection: psycopg.Connection) -> bool:
    """Whether an earlier start left the demo's companies."""
    ids = [company.id for company in COMPANIES]
    row = connection.execute(_statement("select_demo_companies"), {"ids": ids}).fetchone()
    return row is not None and row[0] > 0


def _tables(today: date) -> dict[str, list[Row]]:
    """Rows by table, in an order that satisfies the foreign keys."""
    everyone = [user for company in COMPANIES for user in users(company.id)]
    weeks = [week_of(today) - timedelta(weeks=age) for age in range(HISTORY_PERIODS, -1, -1)]
    return {
        "companies": [{"id": company.id, "name": company.name} for company in COMPANIES],
        "users": [vars(user) for user in everyone],
        "company_users": [vars(user) for user in everyone],
        "user_journeys": [{**vars(user), "entered": _entered(str(user.id))} for user in everyone],
        "cohorts": [
            {**vars(cohort), "filters": Jsonb(dict(cohort.filters))}
            for company in COMPANIES
            for cohort in cohorts(company.id)
        ],
        "metrics_company_period": [
            _company_period(c.id, week) for c in COMPANIES for week in weeks
        ],
        "metrics_program_period": [
            _program_period(c.id, program, week)
            for c in COMPANIES
            for program in PROGRAMS
            for week in weeks
        ],
        "metrics_language_period": [
            _language_period(c.id, language, week)
            for c in COMPANIES
            for language in LANGUAGES
            for week in weeks
        ],
    }


def _entered(user_id: str) -> datetime:
    days = random.Random(user_id).randint(1, 80)
    return datetime.now(UTC) - timedelta(days=days)


def _company_period(company_id: str, week: date) -> Row:
    chance = random.Random(f"{company_id}{week}")
    matches = chance.randint(18, 26)
    return {
        "company_id": company_id,
        "period_start": week,
        "participants": len(users(company_id)),
        "integration": round(chance.gauss(0.66, 0.02), 4),
        "social_capital": round(chance.gauss(0.52, 0.02), 4),
        "sroi": round(chance.gauss(3.3, 0.1), 3),
        "total_matches": matches,
        "active_matches": matches - chance.randint(2, 7),
    }


def _program_period(company_id: str, program: str, week: date) -> Row:
    chance = random.Random(f"{company_id}{program}{week}")
    return {
        "company_id": company_id,
        "program": program,
        "period_start": week,
        "participants": sum(user.program == program for user in users(company_id)),
        "match_quality": round(chance.gauss(0.74, 0.03), 4),
        "interaction_frequency": round(chance.gauss(1.8, 0.2), 3),
        "milestones": chance.randint(1, 9),
    }


def _language_period(company_id: str, language: str, week: date) -> Row:
    chance = random.Random(f"{company_id}{language}{week}")
    return {
        "company_id": company_id,
        "language": language,
        "period_start": week,
        "participants": sum(user.language == language for user in users(company_id)),
        "integration": round(chance.gauss(0.65, 0.03), 4),
        "bridge_connections": round(chance.gauss(2.6, 0.3), 3),
        "cross_language_rate": round(chance.gauss(0.41, 0.03), 4),
    }


def _statement(name: str) -> LiteralString:
    """Text of a file beside this module. Literal because it is ours, not composed."""
    return (Path(__file__).parent / f"{name}.sql").read_text("utf-8")
