"""Random concurrent transactions against random moments of evaluation and sync end in equality.

Nor is anything of what is under way ever taken for drift, and what is drift is repaired amid it.

Three connections hold transactions open, commit them late or roll them back. Ids come from a small
fixed set, so that rows are deleted and made again under the same key, also in another company.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from uuid import UUID

import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from cohort_filters import FilterError, parse_filters
from pipelines.databases import Databases
from pipelines.defs.cohorts import membership
from pipelines.defs.cohorts.change_log import read_checkpoint
from pipelines.defs.cohorts.membership import evaluate_memberships
from pipelines.defs.cohorts.parity import compare_rows, repair_rows
from pipelines.defs.cohorts.sync import sync_cohorts
from tests.live.pipelines.population import platform_state, warehouse_state

CONNECTIONS = 3
companies = st.sampled_from(["acme", "other"])
COHORTS = [UUID(int=number) for number in range(1, 5)]
USERS = [UUID(int=number) for number in range(11, 16)]
cohorts = st.sampled_from(COHORTS)
users = st.sampled_from(USERS)
languages = st.sampled_from(["uk", "de", None])
filters = st.sampled_from(
    [
        {},
        {"language": "uk"},
        {"language": ["uk", "de"]},
        {"language": "de", "role": "mentor"},
        {"country": "ua"},
    ]
).map(Jsonb)

# What a writer may do: a statement and its values. Each is a template of strategies.
OPERATIONS: list[tuple[str, st.SearchStrategy[tuple[object, ...]]]] = [
    (
        "INSERT INTO user_cohorts (user_id, cohort_id, company_id) "
        "SELECT %s, id, company_id FROM cohorts WHERE id = %s",
        st.tuples(users, cohorts),
    ),
    (
        "DELETE FROM user_cohorts WHERE user_id = %s AND cohort_id = %s",
        st.tuples(users, cohorts),
    ),
    (
        "UPDATE user_cohorts SET joined_at = now() WHERE user_id = %s AND cohort_id = %s",
        st.tuples(users, cohorts),
    ),
    (
        "INSERT INTO users (id, company_id, language, role) VALUES (%s, %s, %s, 'mentor') "
        "ON CONFLICT (id) DO UPDATE SET company_id = excluded.company_id, "
        "language = excluded.language",
        st.tuples(users, companies, languages),
    ),
    ("DELETE FROM users WHERE id = %s", st.tuples(users)),
    (
        "INSERT INTO cohorts (id, company_id, name, filters) "
        "VALUES (%s, %s, gen_random_uuid(), %s) "
        "ON CONFLICT (id) DO UPDATE SET filters = excluded.filters",
        st.tuples(cohorts, companies, filters),
    ),
    ("UPDATE cohorts SET company_id = %s WHERE id = %s", st.tuples(companies, cohorts)),
    ("DELETE FROM cohorts WHERE id = %s", st.tuples(cohorts)),
]
# Memberships change most, as they do in life; too many deletes would leave nothing to change.
WEIGHTS = [6, 2, 2, 3, 1, 3, 1, 1]
operations = st.sampled_from(
    [one for one, weight in zip(OPERATIONS, WEIGHTS, strict=True) for _ in range(weight)]
).flatmap(lambda one: st.tuples(st.just(one[0]), one[1]))
# What somebody's hand does to the warehouse.
DAMAGES = [
    "DELETE FROM user_cohorts WHERE cityHash64(user_id, cohort_id) % 2 = 0",
    "INSERT INTO user_cohorts SELECT user_id, cohort_id, company_id, joined_at + 1"
    " FROM user_cohorts FINAL",
    "INSERT INTO user_cohorts SELECT 'nobody', cohort_id, company_id, now() FROM cohorts FINAL",
    "INSERT INTO cohorts SELECT cohort_id, company_id, 'other', '', '', created_at, updated_at"
    " FROM cohorts FINAL",
    "DELETE FROM cohorts WHERE 1",
]
connections = st.integers(0, CONNECTIONS - 1)
# Half of the transactions stay open after a statement and end some steps later.
outcomes = st.sampled_from([None, None, None, "COMMIT", "COMMIT", "ROLLBACK"])
Change = tuple[int, tuple[str, tuple[object, ...]], str | None]


class ConcurrentChanges(RuleBasedStateMachine):
    """Writers on their own connections; evaluator and sync in between."""

    def __init__(self, writers: list[psycopg.Connection], pg: psycopg.Connection, ch: Client):
        super().__init__()
        self.writers, self.pg, self.ch = writers, pg, ch

    @initialize()
    def populate(self) -> None:
        # Not TRUNCATE: what the last example left is deleted by the log like everything else.
        self.pg.execute("DELETE FROM users")
        self.pg.execute("DELETE FROM cohorts")
        self.pg.execute(
            "INSERT INTO users (id, company_id, language, role) "
            "SELECT unnest(%s::uuid[]), 'acme', 'uk', 'mentor'",
            (USERS[:3],),
        )
        self.pg.execute(
            "INSERT INTO cohorts (id, company_id, name) "
            "SELECT id, 'acme', id FROM unnest(%s::uuid[]) AS id",
            (COHORTS[:2],),
        )

    @rule(changes=st.lists(st.tuples(connections, operations, outcomes), min_size=2, max_size=8))
    def write(self, changes: list[Change]) -> None:
        """Each in its connection's transaction, which stays open or ends; a refusal ends it too."""
        for connection, (statement, values), outcome in changes:
            writer = self.writers[connection]
            if writer.info.transaction_status is TransactionStatus.IDLE:
                writer.execute("BEGIN")
            try:
                writer.execute(statement, values)
            except (psycopg.errors.IntegrityError, psycopg.errors.OperationalError):
                writer.execute("ROLLBACK")
            else:
                if outcome:
                    writer.execute(outcome)

    @rule()
    def evaluate(self) -> None:
        by_hand = self.rows_by_hand()
        evaluate_memberships(self.pg)
        assert self.rows_by_hand() == by_hand

    def rows_by_hand(self) -> list[tuple[object, ...]]:
        return self.pg.execute(
            "SELECT * FROM user_cohorts WHERE joined_by IS DISTINCT FROM 'filter' "
            "ORDER BY cohort_id, user_id"
        ).fetchall()

    @rule(damage=st.sampled_from([*[None] * 8, *DAMAGES]))
    def sync(self, damage: str | None) -> None:
        # Before the first sync all is missing.
        if damage and read_checkpoint(self.ch) is not None:
            assert compare_rows(self.pg, self.ch).differing == 0, "only what no sync has taken"
            self.ch.command(damage)
            repair_rows(self.pg, self.ch)
        sync_cohorts(self.pg, self.ch)
        # One thread plays all parts, so what is committed now was committed then.
        assert warehouse_state(self.ch) == platform_state(self.pg)

    def teardown(self) -> None:
        for writer in self.writers:
            writer.execute("COMMIT")
        assert not evaluate_memberships(self.pg).blocked
        assert sync_cohorts(self.pg, self.ch).resync_reason in {None, "no watermark"}
        assert warehouse_state(self.ch) == platform_state(self.pg)
        self.check_memberships()

    def check_memberships(self) -> None:
        """Filters, said again in plain Python over all pairs."""
        people = self.pg.execute("SELECT id, company_id, language, role FROM users").fetchall()
        rows = self.pg.execute("SELECT cohort_id, user_id, joined_by FROM user_cohorts").fetchall()
        for cohort, company, given in self.pg.execute(
            "SELECT id, company_id, filters FROM cohorts"
        ):
            try:
                terms = parse_filters(given).terms()
            except FilterError:
                continue
            wanted = {
                user
                for user, of, language, role in people
                if of == company
                and terms
                and language in terms.get("language", [language])
                and role in terms.get("role", [role])
            }
            by_hand = {user for at, user, by in rows if at == cohort and by != "filter"}
            by_filter = {user for at, user, by in rows if at == cohort and by == "filter"}
            assert by_filter == wanted - by_hand


@pytest.fixture
def machine(
    databases: Databases,
    pipeline_pg: psycopg.Connection,
    pipeline_ch: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[], ConcurrentChanges]]:
    # One thread plays all parts: whoever would wait for another's lock gives up at once.
    monkeypatch.setattr(membership, "LOCK_TIMEOUT_MILLISECONDS", 5)
    with contextlib.ExitStack() as opened:
        writers = [opened.enter_context(databases.postgres()) for _ in range(CONNECTIONS)]
        for writer in (*writers, pipeline_pg):
            writer.execute("SET lock_timeout = '5ms'")
        yield lambda: ConcurrentChanges(writers, pipeline_pg, pipeline_ch)


@pytest.mark.timeout(600)  # a failure is shrunk to its shortest form, which takes minutes
def test_random_concurrent_transactions_end_in_equality(
    machine: Callable[[], ConcurrentChanges],
) -> None:
    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]  # it only calls it
        settings=settings(
            max_examples=15,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
