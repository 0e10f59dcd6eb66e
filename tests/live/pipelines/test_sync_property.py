"""Random concurrent transactions against random moments of evaluation and sync end in equality.

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
from psycopg.types.json import Jsonb

from pipelines.databases import Databases
from pipelines.defs.cohorts import membership
from pipelines.defs.cohorts.filters import FilterError, parse_filters
from pipelines.defs.cohorts.membership import evaluate_memberships
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
        "INSERT INTO cohorts (id, company_id, name, filters) "
        "VALUES (%s, %s, gen_random_uuid(), %s)",
        st.tuples(cohorts, companies, filters),
    ),
    ("UPDATE cohorts SET filters = %s WHERE id = %s", st.tuples(filters, cohorts)),
    ("UPDATE cohorts SET company_id = %s WHERE id = %s", st.tuples(companies, cohorts)),
    ("DELETE FROM cohorts WHERE id = %s", st.tuples(cohorts)),
    (
        "INSERT INTO users (id, company_id, language, role) VALUES (%s, %s, %s, 'mentor')",
        st.tuples(users, companies, languages),
    ),
    (
        "UPDATE users SET language = %s, company_id = %s WHERE id = %s",
        st.tuples(languages, companies, users),
    ),
    ("DELETE FROM users WHERE id = %s", st.tuples(users)),
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
        "UPDATE user_cohorts SET joined_at = now() WHERE user_id = %s",
        st.tuples(users),
    ),
]
operations = st.one_of(*(st.tuples(st.just(statement), values) for statement, values in OPERATIONS))
connections = st.integers(0, CONNECTIONS - 1)


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

    @rule(connection=connections, operation=operations)
    def write(self, connection: int, operation: tuple[str, tuple[object, ...]]) -> None:
        """In the connection's transaction, open or not; what is refused rolls it back."""
        statement, values = operation
        writer = self.writers[connection]
        try:
            writer.execute(statement, values)
        except (psycopg.errors.IntegrityError, psycopg.errors.OperationalError):
            writer.execute("ROLLBACK")

    @rule(connection=connections)
    def begin(self, connection: int) -> None:
        if self.writers[connection].info.transaction_status.name == "IDLE":
            self.writers[connection].execute("BEGIN")

    @rule(connection=connections, how=st.sampled_from(["COMMIT", "COMMIT", "ROLLBACK"]))
    def end(self, connection: int, how: str) -> None:
        self.writers[connection].execute(how)

    @rule()
    def evaluate(self) -> None:
        evaluate_memberships(self.pg)

    @rule()
    def sync(self) -> None:
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


def test_random_concurrent_transactions_end_in_equality(
    machine: Callable[[], ConcurrentChanges],
) -> None:
    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]  # it only calls it
        settings=settings(
            max_examples=20,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
