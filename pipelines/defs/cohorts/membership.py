"""Memberships by filters: which users a cohort's filters ask for, as rows of `user_cohorts`.

The evaluator owns the rows with joined_by = 'filter' and no others. It goes by the change log: a
cohort that changed, or whose memberships somebody changed, is evaluated over its company; a user
who changed is looked at in the cohorts of their company. It writes differences only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import psycopg
from psycopg import errors

from cohort_filters import CohortFilters, FilterError, compile_predicate, parse_filters
from pipelines.defs.cohorts import change_log
from pipelines.defs.cohorts.change_log import LOCK_CLASS, MEMBERSHIP_LOCK, Reader
from sql import statement

# A user or cohort that a person deletes meanwhile fails the foreign key; the next snapshot knows.
ATTEMPTS = 5
# Rows under somebody's open transaction are left to the next run: memberships of one company must
# not hold up the sync of all.
LOCK_TIMEOUT_MILLISECONDS = 2000


@dataclass
class Evaluation:
    """What an evaluation did. `errors` maps a cohort's id to what is wrong with its filters.

    `blocked` says that rows were locked for too long: nothing was done, the next run tries again.
    """

    cohorts: int = 0
    users: int = 0
    added: int = 0
    removed: int = 0
    errors: dict[UUID, str] = field(default_factory=dict)
    whole_reason: str | None = None
    blocked: bool = False


def evaluate_memberships(pg: psycopg.Connection, *, every: bool = False) -> Evaluation:
    """Bring the evaluator's rows in step with filters and users.

    Args:
        pg: in autocommit mode.
        every: evaluate every cohort, whatever changed.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with pg.transaction():
                return _evaluate(pg, every)
        except errors.LockNotAvailable:
            return Evaluation(blocked=True)
        except (errors.ForeignKeyViolation, errors.DeadlockDetected):
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returned or raised")


def _evaluate(pg: psycopg.Connection, every: bool) -> Evaluation:
    pg.execute(
        "SELECT set_config('lock_timeout', %(ms)s, true)", {"ms": f"{LOCK_TIMEOUT_MILLISECONDS}ms"}
    )
    pg.execute(
        "SELECT pg_advisory_xact_lock(%(class)s, %(lock)s)",
        {"class": LOCK_CLASS, "lock": MEMBERSHIP_LOCK},
    )
    # The watermark is this first snapshot. The statements below see later ones as well, and what
    # they see early is seen again next time, with nothing left to write.
    done = change_log.read_watermark(pg, Reader.MEMBERSHIP)
    position = change_log.read_position(pg, done)
    reason = "asked for" if every else position.resync_reason
    evaluation = Evaluation(whole_reason=reason)
    if reason is None and (done is None or not position.has_changes):
        return evaluation

    changed_cohorts: set[UUID] = set()
    changed_users: dict[UUID, set[str]] = {}
    if reason is None and done is not None:
        for company_id, cohort_id, user_id in pg.execute(
            statement("postgres/select_changes_for_membership"), {"snapshot": done.snapshot}
        ):
            if user_id is not None:
                changed_users.setdefault(user_id, set()).add(company_id)
            elif cohort_id is not None:
                changed_cohorts.add(cohort_id)

    companies = sorted({company for found in changed_users.values() for company in found})
    whole: dict[UUID, CohortFilters] = {}
    by_user: dict[UUID, CohortFilters] = {}
    for cohort_id, _company_id, filters in pg.execute(
        statement("postgres/select_cohort_filters"),
        {
            "every": reason is not None,
            "cohort_ids": list(changed_cohorts),
            "company_ids": companies,
        },
    ):
        try:
            wanted = parse_filters(filters)
        except FilterError as error:
            evaluation.errors[cohort_id] = str(error)
            continue
        target = whole if reason is not None or cohort_id in changed_cohorts else by_user
        target[cohort_id] = wanted

    evaluation.cohorts, evaluation.users = len(whole), len(changed_users)
    _write_members(pg, evaluation, "postgres/evaluate_cohort_members", whole)
    if changed_users:
        _write_members(
            pg, evaluation, "postgres/evaluate_user_members", by_user, sorted(changed_users)
        )
    _write_errors(pg, evaluation.errors, [*whole, *by_user])
    change_log.write_watermark(pg, Reader.MEMBERSHIP, position.watermark)
    return evaluation


def _write_members(
    pg: psycopg.Connection,
    evaluation: Evaluation,
    name: str,
    cohorts: Mapping[UUID, CohortFilters],
    user_ids: Sequence[UUID] = (),
) -> None:
    if not cohorts:
        return
    # Columns decide plain filters, as most are; a jsonpath is for what they can't say.
    predicates = [compile_predicate(one) for one in cohorts.values()]
    plain = [one.is_plain for one in cohorts.values()]
    [(added, removed)] = pg.execute(
        statement(name),
        {
            "cohort_ids": list(cohorts),
            "terms": [json.dumps(one.terms()) for one in cohorts.values()],
            "paths": [None if p else one.path for p, one in zip(plain, predicates, strict=True)],
            "variables": [json.dumps(one.variables) for one in predicates],
            "user_ids": list(user_ids),
        },
    ).fetchall()
    evaluation.added += added
    evaluation.removed += removed


def _write_errors(
    pg: psycopg.Connection, failed: Mapping[UUID, str], evaluated: Sequence[UUID]
) -> None:
    pg.execute(statement("postgres/delete_cohort_filter_errors"), {"cohort_ids": list(evaluated)})
    pg.execute(
        statement("postgres/upsert_cohort_filter_errors"),
        {"cohort_ids": list(failed), "errors": list(failed.values())},
    )
