"""Memberships follow filters; what a person made stays; only differences are written."""

import psycopg
import pytest

from pipelines.defs.cohorts import membership
from pipelines.defs.cohorts.membership import evaluate_memberships
from tests.live.pipelines.population import add_cohort, add_members, add_users, members_of


def row_versions(pg: psycopg.Connection) -> set[tuple[object, ...]]:
    """Physical places and transactions of all memberships: a rewritten row would have others."""
    return set(pg.execute("SELECT user_id, ctid::text, xmin::text FROM user_cohorts").fetchall())


def test_users_join_by_all_keys_and_any_value(pg: psycopg.Connection) -> None:
    mentor = add_users(pg, "acme", language="uk", program="mentorship", role="mentor")
    buddy = add_users(pg, "acme", language="uk", program="buddy", role="mentor")
    add_users(pg, "acme", language="uk", program="language", role="mentor")
    add_users(pg, "acme", language="de", program="mentorship", role="mentor")
    add_users(pg, "acme")
    add_users(pg, "other", language="uk", program="mentorship", role="mentor")
    cohort = add_cohort(
        pg, "acme", "c", {"language": "uk", "program": ["mentorship", "buddy"], "role": "mentor"}
    )

    evaluation = evaluate_memberships(pg)

    assert evaluation.added == 2
    assert members_of(pg, cohort) == {mentor[0]: "filter", buddy[0]: "filter"}


def test_an_empty_filter_adds_nobody(pg: psycopg.Connection) -> None:
    add_users(pg, "acme", 3, language="uk")
    cohort = add_cohort(pg, "acme", "by hand")
    evaluate_memberships(pg)
    assert members_of(pg, cohort) == {}


def test_who_no_longer_matches_is_removed_and_what_a_person_made_stays(
    pg: psycopg.Connection,
) -> None:
    leaver, stayer = add_users(pg, "acme", 2, language="uk")
    [guest] = add_users(pg, "acme", language="de")
    cohort = add_cohort(pg, "acme", "c", {"language": "uk"})
    add_members(pg, cohort, [guest])
    evaluate_memberships(pg)
    assert members_of(pg, cohort) == {leaver: "filter", stayer: "filter", guest: "ann"}

    pg.execute("UPDATE users SET language = 'de' WHERE id = %s", (leaver,))
    pg.execute("UPDATE users SET language = 'en' WHERE id = %s", (guest,))
    evaluation = evaluate_memberships(pg)

    assert (evaluation.added, evaluation.removed, evaluation.cohorts) == (0, 1, 0)
    assert members_of(pg, cohort) == {stayer: "filter", guest: "ann"}

    pg.execute('UPDATE cohorts SET filters = \'{"language": "de"}\'')
    evaluation = evaluate_memberships(pg)
    assert (evaluation.added, evaluation.removed, evaluation.cohorts) == (1, 1, 1)
    assert members_of(pg, cohort) == {leaver: "filter", guest: "ann"}


def test_a_user_who_moves_to_another_company_leaves_the_first(pg: psycopg.Connection) -> None:
    [user] = add_users(pg, "acme", language="uk")
    first = add_cohort(pg, "acme", "c", {"language": "uk"})
    second = add_cohort(pg, "other", "c", {"language": "uk"})
    evaluate_memberships(pg)
    pg.execute("UPDATE users SET company_id = 'other' WHERE id = %s", (user,))
    evaluate_memberships(pg)
    assert members_of(pg, first) == {}
    assert members_of(pg, second) == {user: "filter"}


def test_a_changed_filter_is_followed(pg: psycopg.Connection) -> None:
    [uk] = add_users(pg, "acme", language="uk")
    [de] = add_users(pg, "acme", language="de")
    cohort = add_cohort(pg, "acme", "c", {"language": "uk"})
    evaluate_memberships(pg)
    assert members_of(pg, cohort) == {uk: "filter"}
    pg.execute('UPDATE cohorts SET filters = \'{"language": "de"}\' WHERE id = %s', (cohort,))
    evaluate_memberships(pg)
    assert members_of(pg, cohort) == {de: "filter"}
    pg.execute("UPDATE cohorts SET filters = '{}' WHERE id = %s", (cohort,))
    evaluate_memberships(pg)
    assert members_of(pg, cohort) == {}


def test_unknown_keys_are_an_error_on_the_cohort_and_its_members_stay(
    pg: psycopg.Connection,
) -> None:
    [user] = add_users(pg, "acme", language="uk")
    cohort = add_cohort(pg, "acme", "c", {"language": "uk"})
    healthy = add_cohort(pg, "acme", "d", {"language": "uk"})
    evaluate_memberships(pg)
    pg.execute('UPDATE cohorts SET filters = \'{"country": "ua"}\' WHERE id = %s', (cohort,))

    evaluation = evaluate_memberships(pg)

    assert evaluation.errors == {
        cohort: "unknown filter key 'country'; "
        "known are language, program, role, joined, and, or, not"
    }
    recorded = pg.execute(
        "SELECT cohort_id, company_id, error FROM cohort_filter_errors"
    ).fetchall()
    assert recorded == [(cohort, "acme", evaluation.errors[cohort])]
    assert members_of(pg, cohort) == {user: "filter"}

    # Meanwhile the other cohort goes on, and the error goes with its cause.
    [second] = add_users(pg, "acme", language="uk")
    evaluate_memberships(pg)
    assert members_of(pg, healthy) == {user: "filter", second: "filter"}
    assert members_of(pg, cohort) == {user: "filter"}
    pg.execute('UPDATE cohorts SET filters = \'{"language": "uk"}\' WHERE id = %s', (cohort,))
    evaluate_memberships(pg)
    assert pg.execute("SELECT count(*) FROM cohort_filter_errors").fetchone() == (0,)
    assert members_of(pg, cohort) == {user: "filter", second: "filter"}


def test_rows_that_are_right_already_are_not_rewritten(pg: psycopg.Connection) -> None:
    add_users(pg, "acme", 50, language="uk")
    add_cohort(pg, "acme", "c", {"language": "uk"})
    evaluate_memberships(pg)
    before = row_versions(pg)
    assert len(before) == 50

    again = evaluate_memberships(pg, every=True)
    assert (again.added, again.removed, again.cohorts) == (0, 0, 1)
    assert row_versions(pg) == before

    add_users(pg, "acme", 1, language="uk")
    evaluate_memberships(pg)
    assert row_versions(pg) > before


def test_a_membership_that_a_person_removes_comes_back_as_long_as_the_filter_asks_for_it(
    pg: psycopg.Connection,
) -> None:
    [user] = add_users(pg, "acme", language="uk")
    cohort = add_cohort(pg, "acme", "c", {"language": "uk"})
    add_members(pg, cohort, [user])
    evaluate_memberships(pg)
    assert members_of(pg, cohort) == {user: "ann"}
    pg.execute("DELETE FROM user_cohorts")
    evaluate_memberships(pg)
    assert members_of(pg, cohort) == {user: "filter"}


def test_a_person_takes_a_membership_over_from_the_evaluator(pg: psycopg.Connection) -> None:
    [user] = add_users(pg, "acme", language="uk")
    cohort = add_cohort(pg, "acme", "c", {"language": "uk"})
    evaluate_memberships(pg)
    assert members_of(pg, cohort) == {user: "filter"}
    add_members(pg, cohort, [user])
    assert members_of(pg, cohort) == {user: "ann"}
    pg.execute("UPDATE users SET language = 'de'")
    evaluate_memberships(pg)
    assert members_of(pg, cohort) == {user: "ann"}
    with pytest.raises(psycopg.errors.UniqueViolation):
        add_members(pg, cohort, [user])


def test_a_bulk_change_is_compared_without_a_nested_loop(pg: psycopg.Connection) -> None:
    """Tables without statistics, as after a bulk load: the planner takes the lists for two rows."""
    for table in ("users", "cohorts", "user_cohorts"):
        pg.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    pg.execute(
        "INSERT INTO users (company_id, language) "
        "SELECT 'c' || i % 20, (ARRAY['uk', 'de', 'en'])[1 + i % 3] "
        "FROM generate_series(1, 60000) AS i"
    )
    pg.execute(
        "INSERT INTO cohorts (company_id, name, filters) SELECT 'c' || i % 20, i::text, "
        "jsonb_build_object('language', (ARRAY['uk', 'de', 'en'])[1 + i % 3]) "
        "FROM generate_series(1, 60) AS i"
    )
    evaluate_memberships(pg)
    pg.execute("UPDATE user_cohorts SET joined_at = now()")
    pg.execute("UPDATE users SET language = 'xx' WHERE language = 'uk'")
    # As it is 0.1 s; the nested loop was cancelled by this limit.
    pg.execute("SET statement_timeout = '5s'")
    evaluation = evaluate_memberships(pg)
    assert (evaluation.cohorts, evaluation.added, evaluation.removed) == (60, 0, 20_000)


def test_without_changes_nothing_is_evaluated_or_written(pg: psycopg.Connection) -> None:
    add_users(pg, "acme", language="uk")
    add_cohort(pg, "acme", "c", {"language": "uk"})
    evaluate_memberships(pg)
    evaluate_memberships(pg)  # takes note of its own transaction
    watermark = pg.execute("SELECT snapshot::text FROM cohort_watermarks").fetchall()
    evaluation = evaluate_memberships(pg)
    assert (evaluation.cohorts, evaluation.users) == (0, 0)
    assert pg.execute("SELECT snapshot::text FROM cohort_watermarks").fetchall() == watermark


def test_a_transaction_that_commits_late_is_evaluated(
    pg: psycopg.Connection, pipeline_pg: psycopg.Connection
) -> None:
    cohort = add_cohort(pg, "acme", "c", {"language": "uk"})
    evaluate_memberships(pg)
    with pipeline_pg.transaction():
        late = add_users(pipeline_pg, "acme", language="uk")
        early = add_users(pg, "acme", language="uk")
        evaluate_memberships(pg)
        assert members_of(pg, cohort) == {early[0]: "filter"}
    evaluate_memberships(pg)
    assert members_of(pg, cohort) == {early[0]: "filter", late[0]: "filter"}


def test_rows_locked_by_an_open_transaction_are_left_to_the_next_run(
    pg: psycopg.Connection, pipeline_pg: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "LOCK_TIMEOUT_MILLISECONDS", 20)
    users = add_users(pg, "acme", 2, language="uk")
    cohort = add_cohort(pg, "acme", "c", {"language": "uk"})
    with pipeline_pg.transaction():
        pipeline_pg.execute("DELETE FROM users WHERE id = %s", (users[0],))
        assert evaluate_memberships(pg).blocked
        assert members_of(pg, cohort) == {}
    assert not evaluate_memberships(pg).blocked
    assert members_of(pg, cohort) == {users[1]: "filter"}


def test_another_life_of_the_database_means_every_cohort(pg: psycopg.Connection) -> None:
    add_users(pg, "acme", language="uk")
    cohort = add_cohort(pg, "acme", "c", {"language": "uk"})
    evaluate_memberships(pg)
    pg.execute("UPDATE cohort_watermarks SET identity = 'another'")
    pg.execute("ALTER TABLE user_cohorts DISABLE TRIGGER USER")
    pg.execute("DELETE FROM user_cohorts")
    evaluation = evaluate_memberships(pg)
    assert evaluation.whole_reason == "the watermark is of another database: another"
    assert list(members_of(pg, cohort).values()) == ["filter"]


def test_joined_and_or_not_are_evaluated_for_a_cohort_and_for_a_user(
    pg: psycopg.Connection,
) -> None:
    [early] = add_users(pg, "acme", language="uk", role="mentor")
    [late] = add_users(pg, "acme", language="uk", role="buddy")
    [other] = add_users(pg, "acme", language="de", program="language")
    pg.execute("UPDATE users SET joined_at = '2025-01-01 12:00Z' WHERE id = %s", (early,))
    pg.execute("UPDATE users SET joined_at = '2025-03-31 23:59Z' WHERE id = %s", (late,))
    joined = add_cohort(
        pg,
        "acme",
        "joined",
        {"language": "uk", "joined": {"from": "2025-01-02", "until": "2025-03-31"}},
    )
    either = add_cohort(pg, "acme", "either", {"or": [{"role": "mentor"}, {"program": "language"}]})
    without = add_cohort(pg, "acme", "without", {"not": {"language": "uk"}})

    evaluate_memberships(pg)
    assert members_of(pg, joined) == {late: "filter"}
    assert members_of(pg, either) == {early: "filter", other: "filter"}
    assert members_of(pg, without) == {other: "filter"}

    # Only users change now, in a column that nothing but `joined` asks for, and in their language.
    pg.execute("UPDATE users SET joined_at = '2025-02-01' WHERE id = %s", (early,))
    pg.execute("UPDATE users SET language = 'de' WHERE id = %s", (late,))
    evaluation = evaluate_memberships(pg)
    assert evaluation.cohorts == 0
    assert members_of(pg, joined) == {early: "filter"}
    assert members_of(pg, without) == {late: "filter", other: "filter"}
