"""What a cohort's filters may say, and what is said about those that can't be evaluated."""

import pytest

from pipelines.defs.cohorts.filters import CohortFilters, FilterError, parse_filters


@pytest.mark.parametrize(
    ("filters", "terms"),
    [
        ({}, {}),
        (
            {"language": "uk", "program": "mentorship"},
            {"language": ["uk"], "program": ["mentorship"]},
        ),
        ({"role": ["mentor", "admin", "mentor"]}, {"role": ["admin", "mentor"]}),
        ({"language": "Ukraïns'ka; DROP TABLE"}, {"language": ["Ukraïns'ka; DROP TABLE"]}),
    ],
)
def test_terms_are_lists_in_order(filters: object, terms: dict[str, list[str]]) -> None:
    assert parse_filters(filters).terms() == terms


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"country": "ua"}, "unknown filter key 'country'; known are language, program, role"),
        ({"language": "uk", "x": 1, "a": 2}, "unknown filter key 'a', 'x'; known are"),
        ({"language": 7}, "filter 'language' must be a text or a list of texts"),
        ({"language": ""}, "filter 'language' must be"),
        ({"program": []}, "filter 'program' must be"),
        ({"program": ["a", None]}, "filter 'program' must be"),
        ({"role": {"not": "mentor"}}, "filter 'role' must be"),
        ({"role": None}, "filter 'role' is null; leave the key out"),
        ([], "filters must be an object with any of the keys language, program, role"),
        ("uk", "filters must be an object"),
    ],
)
def test_what_can_not_be_evaluated_is_said_in_one_line(filters: object, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filters(filters)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_the_schema_names_exactly_the_known_keys() -> None:
    schema = CohortFilters.model_json_schema()
    assert set(schema["properties"]) == {"language", "program", "role"}
    assert schema["additionalProperties"] is False
