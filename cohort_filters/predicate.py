"""Filters as a predicate that Postgres evaluates: a jsonpath with its values as variables.

The statement that evaluates it is one text for every filter (`sql/postgres/evaluate_cohort.sql`);
path and values are bound parameters, so nothing that a person typed becomes SQL or path syntax.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from cohort_filters.schema import CohortFilters, as_list

Operand = str | float | list[str]


class Predicate(NamedTuple):
    """A jsonpath over `{"language", "program", "role", "joined"}`, `joined` in epoch seconds.

    `languages` are those that every match must have one of, for the index; None: not known.
    """

    path: str
    variables: dict[str, Operand]
    languages: list[str] | None


def compile_predicate(filters: CohortFilters) -> Predicate:
    """The predicate of filters; `{}` matches nobody."""
    variables: dict[str, Operand] = {}
    path = "1 == 2" if filters.is_empty else _compile(filters, variables)
    language = filters.language
    return Predicate(path, variables, None if language is None else as_list(language))


def _compile(filters: CohortFilters, variables: dict[str, Operand]) -> str:
    def bind(value: Operand) -> str:
        name = f"v{len(variables)}"
        variables[name] = value
        return f"${name}"

    terms = [
        f"$.{key} == {bind(as_list(value))}[*]"
        for key in ("language", "program", "role")
        if (value := getattr(filters, key)) is not None
    ]
    if filters.joined is not None:
        start, end = joined_seconds(filters.joined.from_, filters.joined.until)
        if start is not None:
            terms.append(f"$.joined >= {bind(start)}")
        if end is not None:
            terms.append(f"$.joined < {bind(end)}")
    if filters.and_:
        terms.append(" && ".join(f"({_compile(part, variables)})" for part in filters.and_))
    if filters.or_:
        terms.append(" || ".join(f"({_compile(part, variables)})" for part in filters.or_))
    if filters.not_:
        terms.append(f"!({_compile(filters.not_, variables)})")
    return " && ".join(f"({term})" for term in terms)


def joined_seconds(start: date | None, end: date | None) -> tuple[float | None, float | None]:
    """Epoch seconds of the first moment inside and of the first moment behind a range of days."""
    return (
        None if start is None else _midnight(start),
        # The last day that Python knows has no next one; nobody joins behind it.
        None if end is None or end == date.max else _midnight(end + timedelta(days=1)),
    )


def _midnight(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()
