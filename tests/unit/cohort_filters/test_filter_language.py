"""The language of filters: what is accepted, what is refused and in which words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cohort_filters import (
    CohortFilters,
    FilterError,
    User,
    compile_predicate,
    explain,
    parse_filters,
)

JANUARY = datetime(2025, 1, 15, tzinfo=UTC)


def nested(levels: int) -> dict[str, Any]:
    filters: dict[str, Any] = {"language": "uk"}
    for _ in range(levels - 1):
        filters = {"not": filters}
    return filters


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"language": "uk", "program": "mentorship"},
        {"joined": {"until": "2025-01-31"}, "or": [{"role": ["a", "b"]}, {"not": {"role": "c"}}]},
        nested(5),
    ],
)
def test_filters_are_kept_as_they_were_written(filters: dict[str, Any]) -> None:
    assert parse_filters(filters).as_json() == filters


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ("uk", "must be an object"),
        ({"langauge": "uk"}, "unknown filter key 'langauge'; known are language, program"),
        ({"not": {"color": "red"}}, "unknown filter key 'color'"),
        ({"language": ""}, "filter 'language' must be a text or a list"),
        ({"language": []}, "filter 'language' must be a text or a list"),
        ({"language": [1]}, "filter 'language' must be a text"),
        ({"language": None}, "filter 'language' is null"),
        ({"language": "a\0b"}, "filter 'language' must be"),
        ({"joined": {"from": "2025-02-01", "until": "2025-01-01"}}, "'from' is after 'until'"),
        ({"joined": {"from": "yesterday"}}, "filter 'joined.from'"),
        ({"joined": {"after": "2025-01-01"}}, "known are from, until"),
        ({"and": []}, "filter 'and'"),
        ({"and": [{}]}, "empty filter"),
        (nested(6), "more than 5 levels"),
        ({"or": [{"role": "a"}] * 100}, "more than 100 parts"),
    ],
)
def test_what_is_refused_is_named_in_one_line(filters: object, words: str) -> None:
    with pytest.raises(FilterError) as refused:
        parse_filters(filters)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_very_deep_filter_is_refused_without_following_it() -> None:
    with pytest.raises(FilterError, match="levels"):
        parse_filters(nested(100_000))


def test_empty_filters_ask_for_nobody() -> None:
    assert explain(CohortFilters(), User("uk", None, None, JANUARY)) == (False, [])
    assert compile_predicate(CohortFilters()).path == "1 == 2"


def test_what_a_person_typed_is_never_part_of_the_path() -> None:
    typed = '" || 1 == 1 || "'
    predicate = compile_predicate(parse_filters({"language": typed, "not": {"role": [typed]}}))
    assert typed not in predicate.path
    assert predicate.variables == {"v0": [typed], "v1": [typed]}


def test_explanation_names_every_part_with_its_own_result() -> None:
    filters = parse_filters({"language": "uk", "not": {"role": "mentor"}, "program": "buddy"})
    matched, reasons = explain(filters, User("uk", None, "mentor", JANUARY))
    assert not matched
    assert {reason.key: reason.matched for reason in reasons} == {
        "language": True,
        "program": False,
        "not": False,
        "not.role": True,
    }
