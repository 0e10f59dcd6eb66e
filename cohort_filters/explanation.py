"""Why a user matches filters, or does not: each part of them against what is known of the user."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from cohort_filters.predicate import joined_seconds
from cohort_filters.schema import CohortFilters, as_list


class User(NamedTuple):
    """What filters can ask for."""

    language: str | None
    program: str | None
    role: str | None
    joined: datetime


class Reason(NamedTuple):
    """One part: the key (`and.0.language`), what it wants, what the user has, whether they match.

    A part inside of `not` is told as it is; `not` itself stands before it with the result turned.
    """

    key: str
    wanted: Any
    actual: str | None
    matched: bool


def explain(filters: CohortFilters, user: User) -> tuple[bool, list[Reason]]:
    """Whether the user matches, and every part with its own result. `{}` matches nobody."""
    if filters.is_empty:
        return False, []
    reasons: list[Reason] = []
    return _explain(filters, user, "", reasons), reasons


def _explain(filters: CohortFilters, user: User, prefix: str, reasons: list[Reason]) -> bool:
    results: list[bool] = []
    for key in ("language", "program", "role"):
        value = getattr(filters, key)
        if value is not None:
            actual = getattr(user, key)
            results.append(actual in as_list(value))
            reasons.append(Reason(f"{prefix}{key}", value, actual, results[-1]))
    if filters.joined is not None:
        start, end = joined_seconds(filters.joined.from_, filters.joined.until)
        moment = user.joined.timestamp()
        inside = (start is None or moment >= start) and (end is None or moment < end)
        wanted = filters.joined.model_dump(mode="json", by_alias=True, exclude_unset=True)
        results.append(inside)
        reasons.append(Reason(f"{prefix}joined", wanted, user.joined.isoformat(), inside))
    for key, parts, decide in (("and", filters.and_, all), ("or", filters.or_, any)):
        if parts:
            # A list, so that every part is explained, also behind the one that decides.
            inner = [
                _explain(part, user, f"{prefix}{key}.{number}.", reasons)
                for number, part in enumerate(parts)
            ]
            results.append(decide(inner))
    if filters.not_ is not None:
        place = len(reasons)
        matched = not _explain(filters.not_, user, f"{prefix}not.", reasons)
        wanted = filters.not_.as_json()
        reasons.insert(place, Reason(f"{prefix}not", wanted, None, matched))
        results.append(matched)
    return all(results)
