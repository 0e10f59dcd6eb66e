"""A cohort's filters: which users of its company belong to it. See `schema.py` for the language.

A package of its own, because the API that accepts filters and the pipeline that evaluates them must
mean the same and do not import each other.
"""

from cohort_filters.explanation import Reason, User, explain
from cohort_filters.predicate import Predicate, compile_predicate
from cohort_filters.schema import CohortFilters, FilterError, JoinedRange, parse_filters

__all__ = [
    "CohortFilters",
    "FilterError",
    "JoinedRange",
    "Predicate",
    "Reason",
    "User",
    "compile_predicate",
    "explain",
    "parse_filters",
]
