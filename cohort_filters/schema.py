"""The language of filters, one pydantic model; its JSON Schema is published in `/openapi.json`.

    {"language": "uk", "program": ["mentorship", "buddy"], "joined": {"from": "2025-01-01"}}

Every key must match, a text by being equal, a list by any of its values. `and`, `or` and `not`
hold filters again. A user without a language matches no `language`, and therefore every `not` of
it. `{}` asks for nobody: such a cohort has only the members that a person added.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic import model_validator as validate

# NUL has no place in Postgres's text; a filter is kept there.
Value = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=200, pattern=r"^[^\x00]+$")
]
Values = Value | Annotated[list[Value], Field(min_length=1, max_length=1000)]

MAX_DEPTH: Final = 5
MAX_PARTS: Final = 100


PLAIN_KEYS: Final = frozenset({"language", "program", "role"})


def as_list(value: str | list[str]) -> list[str]:
    """The values of a term, in order and once."""
    return sorted({value} if isinstance(value, str) else set(value))


class FilterError(ValueError):
    """Filters can't be evaluated; `str()` says which key and why, in one line."""


class JoinedRange(BaseModel):
    """When the user joined: days in UTC, both included, at least one of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    from_: Annotated[date | None, Field(alias="from")] = None
    until: date | None = None

    @validate(mode="after")
    def _is_a_range(self) -> JoinedRange:
        if self.from_ is None and self.until is None:
            raise ValueError("needs 'from', 'until' or both")
        if self.from_ and self.until and self.from_ > self.until:
            raise ValueError("'from' is after 'until'")
        return self


class CohortFilters(BaseModel):
    """Filters by what is known of a user; an absent key matches every user."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {"language": "uk", "program": "mentorship"},
                {
                    "program": ["mentorship", "buddy"],
                    "joined": {"from": "2025-01-01", "until": "2025-06-30"},
                    "not": {"role": "mentor"},
                },
            ]
        },
    )

    language: Values | None = None
    program: Values | None = None
    role: Values | None = None
    joined: JoinedRange | None = None
    and_: Annotated[list[CohortFilters] | None, Field(alias="and", min_length=1)] = None
    or_: Annotated[list[CohortFilters] | None, Field(alias="or", min_length=1)] = None
    not_: Annotated[CohortFilters | None, Field(alias="not")] = None

    @property
    def is_empty(self) -> bool:
        """True for `{}`, which asks for nobody."""
        return not self.model_fields_set

    @property
    def is_plain(self) -> bool:
        """True when `terms` say all of it: no `joined`, `and`, `or`, `not`."""
        return self.model_fields_set <= PLAIN_KEYS

    def terms(self) -> dict[str, list[str]]:
        """The given plain keys, each with its values in order and once: `{"language": ["uk"]}`."""
        return {
            name: as_list(value)
            for name in sorted(PLAIN_KEYS)
            if (value := getattr(self, name)) is not None
        }

    def children(self) -> list[CohortFilters]:
        """The filters directly inside of this one."""
        return [*(self.and_ or ()), *(self.or_ or ()), *((self.not_,) if self.not_ else ())]

    def as_json(self) -> dict[str, Any]:
        """As it is kept in `cohorts.filters`: only the keys that were given."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def parse_filters(filters: object) -> CohortFilters:
    """Filters as they are in `cohorts.filters` or in a request.

    Raises:
        FilterError: an unknown key, a value of another kind than the key wants, an empty one, more
            than 5 levels or 100 parts.
    """
    if not isinstance(filters, dict):
        raise FilterError(f"filters must be an object with any of the keys {', '.join(KEYS)}")
    _check_size(filters)
    try:
        return CohortFilters.model_validate(filters)
    except ValidationError as error:
        raise FilterError(_one_line(error)) from None


KEYS: Final = tuple(field.alias or name for name, field in CohortFilters.model_fields.items())
_NESTED: Final = frozenset({"and", "or", "not"})


def _check_size(filters: dict[Any, Any]) -> None:
    """Refuse what is too deep before pydantic follows it; levels are walked without recursion."""
    level, parts = [filters], 0
    for depth in range(MAX_DEPTH + 1):
        parts += len(level)
        if depth == MAX_DEPTH and level:
            raise FilterError(f"filters have more than {MAX_DEPTH} levels of and, or, not")
        if parts > MAX_PARTS:
            raise FilterError(f"filters have more than {MAX_PARTS} parts")
        for part in level:
            for key, value in part.items():
                # None would mean "absent", which matches everybody: surely not what was meant.
                if value is None:
                    raise FilterError(f"filter {key!r} is null; leave the key out instead")
            if depth and not part:
                raise FilterError("an empty filter inside of and, or, not matches nobody's intent")
        inner = [part[key] for part in level for key in part if key in _NESTED]
        level = [
            part
            for value in inner
            for part in (value if isinstance(value, list) else [value])
            if isinstance(part, dict)
        ]


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    # Names of the union's branches stand in the path too; only keys and positions say something.
    place = [str(part) for part in first["loc"] if isinstance(part, int) or str(part) in _PLACES]
    if first["type"] == "extra_forbidden":
        unknown = str(first["loc"][-1])[:60]
        known = "from, until" if place[-1:] == ["joined"] else ", ".join(KEYS)
        return f"unknown filter key {unknown!r}; known are {known}"
    name = ".".join(place) or "filters"
    if place and place[0] in PLAIN_KEYS:
        return f"filter {name!r} must be a text or a list of texts, none of them empty"
    return f"filter {name!r}: {first['msg'].removeprefix('Value error, ')}"


_PLACES: Final = frozenset({*KEYS, "from", "until"})
