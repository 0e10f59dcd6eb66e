"""What the triggers write and refuse, and what is pruned."""

import psycopg
import pytest

from tests.live.pipelines.population import add_cohort, add_members, add_users


def logged(pg: psycopg.Connection) -> list[tuple[object, ...]]:
    """Source, cohort, user of each change since the last call."""
    rows = pg.execute(
        "WITH taken AS (DELETE FROM cohort_changes RETURNING *) "
        "SELECT source, cohort_id, user_id, company_id FROM taken ORDER BY change_id"
    ).fetchall()
    return list(rows)


def test_every_insert_update_and_delete_is_logged_with_its_transaction(
    pg: psycopg.Connection,
) -> None:
    [user] = add_users(pg, "acme")
    assert logged(pg) == [("users", None, user, "acme")]
    cohort = add_cohort(pg, "acme", "c")
    add_members(pg, cohort, [user])
    assert logged(pg) == [
        ("cohorts", cohort, None, "acme"),
        ("user_cohorts", cohort, user, "acme"),
    ]
    pg.execute("UPDATE user_cohorts SET joined_by = 'bob'")
    pg.execute("UPDATE cohorts SET name = 'd'")
    assert logged(pg) == [
        ("user_cohorts", cohort, user, "acme"),
        ("cohorts", cohort, None, "acme"),
    ]
    with pg.transaction():
        pg.execute("DELETE FROM cohorts")
        [(xid,)] = pg.execute("SELECT pg_current_xact_id()::text").fetchall()
    assert pg.execute("SELECT DISTINCT xid::text FROM cohort_changes").fetchall() == [(xid,)]
    assert set(logged(pg)) == {
        ("user_cohorts", cohort, user, "acme"),
        ("cohorts", cohort, None, "acme"),
    }


def test_of_users_only_what_a_filter_can_ask_for_is_logged(pg: psycopg.Connection) -> None:
    [user] = add_users(pg, "acme", language="uk")
    logged(pg)
    pg.execute("UPDATE users SET email = 'new@example.org', updated_at = now()")
    assert logged(pg) == []
    for column in ("language", "program", "role"):
        pg.execute(f"UPDATE users SET {column} = 'x'")
        assert logged(pg) == [("users", None, user, "acme")]
    pg.execute("UPDATE users SET company_id = 'other'")
    assert set(logged(pg)) == {("users", None, user, "acme"), ("users", None, user, "other")}


def test_a_role_without_rights_on_the_log_can_write_users(pg: psycopg.Connection) -> None:
    pg.execute("DROP ROLE IF EXISTS platform_writer")
    pg.execute("CREATE ROLE platform_writer")
    try:
        pg.execute("GRANT INSERT ON users TO platform_writer")
        with pg.transaction():
            pg.execute("SET LOCAL ROLE platform_writer")
            pg.execute("INSERT INTO users (company_id) VALUES ('acme')")
        assert len(logged(pg)) == 1
    finally:
        pg.execute("DROP OWNED BY platform_writer")
        pg.execute("DROP ROLE platform_writer")


def test_a_cohort_can_not_be_moved_to_another_company(pg: psycopg.Connection) -> None:
    cohort = add_cohort(pg, "acme", "c")
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation) as caught:
        pg.execute("UPDATE cohorts SET company_id = 'other'")
    assert str(caught.value).startswith(
        f"cohort {cohort} belongs to company acme: it cannot be moved to company other"
    )


def test_a_membership_can_not_name_another_company_than_its_cohort(
    pg: psycopg.Connection,
) -> None:
    [user] = add_users(pg, "acme")
    cohort = add_cohort(pg, "acme", "c")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        pg.execute(
            "INSERT INTO user_cohorts (user_id, cohort_id, company_id) VALUES (%s, %s, 'other')",
            (user, cohort),
        )


def test_updated_at_follows_changes_and_only_changes(pg: psycopg.Connection) -> None:
    add_cohort(pg, "acme", "c")
    past = "2020-01-01T00:00:00Z"
    pg.execute("ALTER TABLE cohorts DISABLE TRIGGER USER")
    pg.execute("UPDATE cohorts SET updated_at = %s", (past,))
    pg.execute("ALTER TABLE cohorts ENABLE TRIGGER USER")
    pg.execute("UPDATE cohorts SET name = 'c'")
    assert pg.execute("SELECT updated_at = %s FROM cohorts", (past,)).fetchone() == (True,)
    pg.execute("UPDATE cohorts SET name = 'd'")
    assert pg.execute("SELECT now() - updated_at < '1 min' FROM cohorts").fetchone() == (True,)


def test_an_infinite_time_is_cut_to_what_the_warehouse_can_hold(pg: psycopg.Connection) -> None:
    assert pg.execute(
        "SELECT warehouse_milliseconds('infinity'), warehouse_milliseconds('-infinity'), "
        "warehouse_milliseconds(NULL), warehouse_milliseconds('2026-01-01T00:00:00.9999Z')"
    ).fetchone() == (7258118400000, 0, None, 1767225600999)
