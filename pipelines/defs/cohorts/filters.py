"""A cohort's filters: which users of its company belong to it.

`{"language": "uk", "program": ["mentorship", "buddy"]}`: every key must match, by any of its
values. `{}` asks for nobody: such a cohort has only the members that a person added.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

Value = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200)]
Values = Value | Annotated[list[Value], Field(min_length=1, max_length=1000)]


class FilterError(ValueError):
    """Filters can't be evaluated; `str()` says which key and why, in one line."""


class CohortFilters(BaseModel):
    """Filters by columns of `users`; an absent key matches every user."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Values | None = None
    program: Values | None = None
    role: Values | None = None

    def terms(self) -> dict[str, list[str]]:
        """The given keys, each with its values in order and once: `{"language": ["uk"]}`."""
        return {
            name: sorted({value} if isinstance(value, str) else set(value))
            for name in type(self).model_fields
            if (value := getattr(self, name)) is not None
        }


def parse_filters(filters: object) -> CohortFilters:
    """Filters as they are in `cohorts.filters`.

    Raises:
        FilterError: an unknown key, a value that is neither text nor a list of texts, an empty one.
    """
    known = ", ".join(CohortFilters.model_fields)
    if not isinstance(filters, dict):
        raise FilterError(f"filters must be an object with any of the keys {known}")
    unknown = sorted(str(key) for key in filters if key not in CohortFilters.model_fields)
    if unknown:
        raise FilterError(f"unknown filter key {', '.join(map(repr, unknown))}; known are {known}")
    for key, value in filters.items():
        # None would mean "absent", which matches everybody: surely not what was meant.
        if value is None:
            raise FilterError(f"filter {key!r} is null; leave the key out to match every {key}")
    try:
        return CohortFilters.model_validate(filters)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise FilterError(
            f"filter {key!r} must be a text or a list of texts, none of them empty"
        ) from None
