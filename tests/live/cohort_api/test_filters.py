"""Filters mean the same to Postgres, which evaluates them, and to Python, which explains them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohort_filters import FilterError, User, compile_predicate, explain, parse_filters
from cohort_filters.schema import MAX_PARTS
from sql import statement

COMPANY = "company-a"
WORDS = ["uk", "de", 'a"b', "a'b", "$v0", "\\", "日本", "A" * 200]
DAYS = st.dates(date(2024, 12, 30), date(2025, 1, 3))
values = st.sampled_from(WORDS) | st.lists(st.sampled_from(WORDS), min_size=1, max_size=3)


@st.composite
def ranges(draw: st.DrawFn) -> dict[str, str]:
    first, last = sorted([draw(DAYS), draw(DAYS)])
    both = {"from": first.isoformat(), "until": last.isoformat()}
    kept = draw(st.sampled_from([["from"], ["until"], ["from", "until"]]))
    return {name: both[name] for name in kept}


def leaves() -> st.SearchStrategy[dict[str, Any]]:
    keys = {"language": values, "program": values, "role": values, "joined": ranges()}
    return st.fixed_dictionaries({}, optional=keys).filter(bool)


def deeper(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    some = st.lists(inner, min_size=1, max_size=3)
    nested = st.fixed_dictionaries({}, optional={"and": some, "or": some, "not": inner})
    return st.tuples(leaves() | st.just({}), nested.filter(bool)).map(lambda two: two[0] | two[1])


def is_small_enough(raw: dict[str, Any]) -> bool:
    """Whether the language takes so many parts; a filter that it refuses otherwise is a failure."""
    try:
        parse_filters(raw)
    except FilterError as error:
        return str(error) != f"filters have more than {MAX_PARTS} parts"
    return True


# Three levels of and, or, not; the language allows five.
filters = (leaves() | deeper(leaves() | deeper(leaves() | deeper(leaves())))).filter(
    is_small_enough
)
word = st.none() | st.sampled_from(WORDS)
moments = st.integers(0, 4 * 86_400).map(
    lambda seconds: datetime(2024, 12, 30, tzinfo=UTC) + timedelta(seconds=seconds)
)
users = st.lists(st.builds(User, word, word, word, moments), min_size=1, max_size=12)


@given(raw=filters, people=users)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_postgres_and_the_explanation_agree(
    pg: psycopg.Connection, raw: dict[str, Any], people: list[User]
) -> None:
    parsed = parse_filters(raw)
    with pg.transaction(force_rollback=True):
        rows = pg.execute(
            "INSERT INTO cohorts (company_id, name) VALUES (%s, 'c') RETURNING id", (COMPANY,)
        ).fetchall()
        cohort = rows[0][0]
        expected = set()
        for user in people:
            found = pg.execute(
                "INSERT INTO users (company_id, language, program, role, joined_at)"
                " VALUES (%s, %s, %s, %s, %s) RETURNING id",
                (COMPANY, *user),
            ).fetchall()
            if explain(parsed, user)[0]:
                expected.add(found[0][0])
        predicate = compile_predicate(parsed)
        parameters = {
            "company_id": COMPANY,
            "cohort_id": cohort,
            "path": predicate.path,
            "variables": json.dumps(predicate.variables),
            "languages": predicate.languages,
        }
        counts = pg.execute(statement("postgres/evaluate_cohort"), parameters).fetchone()
        assert counts == (len(expected), 0)
        members = pg.execute("SELECT user_id FROM user_cohorts").fetchall()
        assert {row[0] for row in members} == expected
        assert pg.execute(statement("postgres/evaluate_cohort"), parameters).fetchone() == (0, 0)
