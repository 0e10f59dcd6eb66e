"""Rows of the warehouse's `cohorts` and `user_cohorts`, as both databases give them."""

from typing import NamedTuple


class CohortRow(NamedTuple):
    """A row of `cohorts` in the order of its columns; times are milliseconds of UTC."""

    cohort_id: str
    company_id: str
    name: str
    description: str
    filters: str
    created_at: int
    updated_at: int

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two rows the same cohort."""
        return (self.company_id, self.cohort_id)


class MemberRow(NamedTuple):
    """A row of `user_cohorts` in the order of its columns; the time is milliseconds of UTC."""

    user_id: str
    cohort_id: str
    company_id: str
    joined_at: int

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two rows the same membership."""
        return (self.company_id, self.cohort_id, self.user_id)
