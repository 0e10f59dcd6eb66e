"""Cohorts and memberships reach ClickHouse exactly, whatever happens in between."""

import json

import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from pipelines.databases import Databases
from pipelines.defs.cohorts import change_log
from pipelines.defs.cohorts.change_log import CHECKPOINT_NAME, Watermark
from pipelines.defs.cohorts.membership import evaluate_memberships
from pipelines.defs.cohorts.sync import SyncResult, sync_cohorts
from tests.live.pipelines.population import (
    add_cohort,
    add_members,
    add_users,
    platform_state,
    warehouse_state,
)


class Sync:
    """The sync as a run does it, on connections as a run has them."""

    def __init__(self, pg: psycopg.Connection, ch: Client) -> None:
        self.pg, self.ch = pg, ch

    def __call__(self, *, full: bool = False, companies: tuple[str, ...] = ()) -> SyncResult:
        return sync_cohorts(self.pg, self.ch, full=full, companies=companies)


@pytest.fixture
def sync(pipeline_pg: psycopg.Connection, pipeline_ch: Client) -> Sync:
    """A sync that has run once, so that the next goes by the change log."""
    sync = Sync(pipeline_pg, pipeline_ch)
    assert sync().resync_reason == "no watermark"
    return sync


def checkpoint(ch: Client) -> str:
    [(position,)] = ch.query(
        "SELECT position FROM processing_checkpoints FINAL WHERE name = 'cohort_sync'"
    ).result_rows
    return str(position)


def set_checkpoint(ch: Client, position: str) -> None:
    ch.insert("processing_checkpoints", [[CHECKPOINT_NAME, position]], ["name", "position"])


def test_inserts_updates_and_deletes_arrive(pg: psycopg.Connection, ch: Client, sync: Sync) -> None:
    users = add_users(pg, "acme", 3)
    kept = add_cohort(pg, "acme", 'Ukraïnian "quoted"\ttab \\ back', {"language": ["uk", "ї"]})
    gone = add_cohort(pg, "acme", "gone")
    for cohort in (kept, gone):
        add_members(pg, cohort, users)
    first = sync()
    assert (first.resync_reason, first.cohorts_written, first.members_written) == (None, 2, 6)
    assert warehouse_state(ch) == platform_state(pg)
    [row] = ch.query(
        "SELECT cohort_id, company_id, description, filters FROM cohorts FINAL "
        "WHERE cohort_id = {id:String}",
        parameters={"id": str(kept)},
    ).result_rows
    assert row == (str(kept), "acme", "", '{"language":["uk","ї"]}')

    pg.execute("UPDATE cohorts SET description = 'now with text' WHERE id = %s", (kept,))
    pg.execute("DELETE FROM cohorts WHERE id = %s", (gone,))
    pg.execute("DELETE FROM users WHERE id = %s", (users[0],))
    pg.execute("UPDATE user_cohorts SET joined_at = '2020-01-02T03:04:05.678901Z'")
    second = sync()
    assert (second.cohorts_written, second.cohorts_deleted) == (1, 1)
    assert (second.members_written, second.members_deleted) == (2, 1)
    assert len(warehouse_state(ch).members) == 2
    assert warehouse_state(ch) == platform_state(pg)


def test_a_transaction_that_commits_late_is_not_missed(
    pg: psycopg.Connection, ch: Client, sync: Sync, databases: Databases
) -> None:
    """It takes its number before another that is synced first; by number or clock it is past."""
    users = add_users(pg, "acme", 2)
    cohort = add_cohort(pg, "acme", "c")
    sync()
    with databases.postgres() as late, late.transaction():
        add_members(late, cohort, [users[0]])
        add_members(pg, cohort, [users[1]])
        sync()
        assert [row[0] for row in warehouse_state(ch).members] == [str(users[1])]
    sync()
    assert warehouse_state(ch) == platform_state(pg)
    assert len(warehouse_state(ch).members) == 2


def test_a_transaction_that_is_rolled_back_never_arrives(
    pg: psycopg.Connection, ch: Client, sync: Sync
) -> None:
    with pg.transaction(force_rollback=True):
        add_cohort(pg, "acme", "never")
    add_cohort(pg, "acme", "c")
    sync()
    assert [row[2] for row in warehouse_state(ch).cohorts] == ["c"]


def test_a_deleted_membership_takes_nothing_of_another_company_along(
    pg: psycopg.Connection, ch: Client, sync: Sync
) -> None:
    [user] = add_users(pg, "acme")
    cohorts = [add_cohort(pg, company, "c") for company in ("acme", "other")]
    for cohort in cohorts:
        add_members(pg, cohort, [user])
    sync()
    pg.execute("DELETE FROM user_cohorts WHERE cohort_id = %s", (cohorts[0],))
    pg.execute("DELETE FROM cohorts WHERE id = %s", (cohorts[0],))
    sync()
    assert [row[:3] for row in warehouse_state(ch).members] == [
        (str(user), str(cohorts[1]), "other")
    ]
    assert warehouse_state(ch) == platform_state(pg)


def test_many_deletes_at_once(pg: psycopg.Connection, ch: Client, sync: Sync) -> None:
    users = add_users(pg, "acme", 1500)
    cohort = add_cohort(pg, "acme", "c")
    add_members(pg, cohort, users)
    sync()
    pg.execute("DELETE FROM user_cohorts WHERE user_id <> %s", (users[7],))
    assert sync().members_deleted == 1499
    assert warehouse_state(ch) == platform_state(pg)


def test_without_changes_nothing_is_written(pg: psycopg.Connection, ch: Client, sync: Sync) -> None:
    add_cohort(pg, "acme", "c")
    sync()
    before = checkpoint(ch)
    result = sync()
    assert (result.companies, result.cohorts_written, result.changes_pruned) == (0, 0, 0)
    assert checkpoint(ch) == before


def test_a_run_that_is_cut_is_repeated_without_double_effect(
    pg: psycopg.Connection, ch: Client, sync: Sync
) -> None:
    users = add_users(pg, "acme", 2)
    old = add_cohort(pg, "acme", "old")
    add_members(pg, old, users)
    sync()
    before = checkpoint(ch)
    add_members(pg, add_cohort(pg, "acme", "new"), users)
    pg.execute("DELETE FROM user_cohorts WHERE cohort_id = %s AND user_id = %s", (old, users[0]))
    ch.command("RENAME TABLE user_cohorts TO user_cohorts_away")
    with pytest.raises(DatabaseError):
        sync()
    ch.command("RENAME TABLE user_cohorts_away TO user_cohorts")
    assert len(warehouse_state(ch).cohorts) == 2, "cut after the cohorts, before the memberships"
    assert checkpoint(ch) == before

    sync()
    sync()
    assert warehouse_state(ch) == platform_state(pg)


def test_a_missing_watermark_means_a_full_resync(
    pg: psycopg.Connection, ch: Client, sync: Sync
) -> None:
    users = add_users(pg, "acme", 5)
    add_members(pg, add_cohort(pg, "acme", "c"), users)
    sync()
    for table in ("cohorts", "user_cohorts", "processing_checkpoints"):
        ch.command(f"TRUNCATE TABLE {table}")
    result = sync()
    assert (result.resync_reason, result.members_written) == ("no watermark", 5)
    assert warehouse_state(ch) == platform_state(pg)
    assert sync().resync_reason is None


def test_a_watermark_of_another_database_means_a_full_resync(
    pg: psycopg.Connection, ch: Client, sync: Sync
) -> None:
    add_cohort(pg, "acme", "c")
    sync()
    foreign = {**json.loads(checkpoint(ch)), "identity": "7000000000000000000/00000001/5/6"}
    set_checkpoint(ch, json.dumps(foreign))
    ch.command("TRUNCATE TABLE cohorts")
    result = sync()
    assert str(result.resync_reason).startswith("the watermark is of another database: 7000000")
    assert warehouse_state(ch) == platform_state(pg)


def test_the_identity_is_the_servers_and_the_databases_own(
    pg: psycopg.Connection, ch: Client, sync: Sync
) -> None:
    watermark = Watermark.parse(checkpoint(ch))
    assert watermark is not None
    [(system_identifier, database)] = pg.execute(
        "SELECT system_identifier::text, (SELECT oid::text FROM pg_database "
        "WHERE datname = current_database()) FROM pg_control_system()"
    ).fetchall()
    system, timeline, oid, _table = watermark.identity.split("/")
    assert (system, timeline, oid) == (system_identifier, "00000001", database)


def test_a_watermark_from_the_future_means_a_full_resync(
    pg: psycopg.Connection, ch: Client, sync: Sync
) -> None:
    """As after a physical restore to an earlier point."""
    set_checkpoint(ch, json.dumps({**json.loads(checkpoint(ch)), "snapshot": "9000000:9000000:"}))
    add_cohort(pg, "acme", "c")
    assert sync().resync_reason == "the watermark is ahead of the database"
    assert warehouse_state(ch) == platform_state(pg)


def test_a_warehouse_that_was_restored_past_the_pruned_log_is_resynced(
    pg: psycopg.Connection, ch: Client, sync: Sync
) -> None:
    old = checkpoint(ch)
    add_cohort(pg, "acme", "c")
    evaluate_memberships(pg)
    assert sync().changes_pruned == 1
    set_checkpoint(ch, old)
    ch.command("TRUNCATE TABLE cohorts")
    assert sync().resync_reason == "the change log is pruned past the watermark"
    assert warehouse_state(ch) == platform_state(pg)


def test_a_truncated_table_means_a_full_resync(
    pg: psycopg.Connection, ch: Client, sync: Sync
) -> None:
    add_members(pg, add_cohort(pg, "acme", "c"), add_users(pg, "acme", 3))
    sync()
    pg.execute("TRUNCATE user_cohorts")
    assert sync().resync_reason == "a table was truncated"
    assert warehouse_state(ch) == platform_state(pg)


def test_rows_written_by_hand_are_repaired_company_by_company(
    pg: psycopg.Connection, ch: Client, sync: Sync
) -> None:
    add_members(pg, add_cohort(pg, "acme", "c"), add_users(pg, "acme", 3))
    sync()
    before = checkpoint(ch)
    for company in ("acme", "other"):
        ch.command(
            "INSERT INTO cohorts VALUES ('by hand', {company:String}, 'n', '', '{}', now(), now())",
            parameters={"company": company},
        )
        ch.command(
            "INSERT INTO user_cohorts VALUES ('somebody', 'by hand', {company:String}, now())",
            parameters={"company": company},
        )
    ch.command("DELETE FROM user_cohorts WHERE company_id = 'acme' AND user_id != 'somebody'")

    repaired = sync(companies=("acme",))
    assert (repaired.cohorts_written, repaired.cohorts_deleted) == (0, 1)
    assert (repaired.members_written, repaired.members_deleted) == (3, 1)
    assert sorted(str(row[1]) for row in warehouse_state(ch).cohorts) == ["acme", "other"]
    assert checkpoint(ch) == before

    everywhere = sync(full=True)
    assert (everywhere.cohorts_deleted, everywhere.members_deleted) == (1, 1)
    assert warehouse_state(ch) == platform_state(pg)


def test_two_syncs_never_overlap(pg: psycopg.Connection, ch: Client, sync: Sync) -> None:
    sync.pg.execute("SET lock_timeout = '20ms'")
    with change_log.sync_lock(pg), pytest.raises(psycopg.errors.LockNotAvailable):
        sync()
    assert sync().resync_reason is None


def test_what_both_readers_are_past_is_pruned(
    pg: psycopg.Connection, ch: Client, sync: Sync
) -> None:
    add_users(pg, "acme", 3, language="uk")
    add_cohort(pg, "acme", "c", {"language": "uk"})
    sync()
    [(kept,)] = pg.execute("SELECT count(*) FROM cohort_changes").fetchall()
    assert kept == 4, "the evaluator has not seen them yet"
    evaluate_memberships(pg)
    sync()
    evaluate_memberships(pg)
    add_users(pg, "acme")
    sync()
    rows = pg.execute("SELECT source FROM cohort_changes").fetchall()
    assert rows == [("users",)]


def test_changes_of_a_restored_dump_are_pruned(
    pg: psycopg.Connection, ch: Client, sync: Sync
) -> None:
    """Their numbers are another cluster's, here still to be given out: visible in no watermark."""
    evaluate_memberships(pg)
    pg.execute(
        "INSERT INTO cohort_changes (xid, source, company_id, cohort_id) "
        "VALUES ('900000000', 'cohorts', 'acme', gen_random_uuid())"
    )
    sync()
    assert pg.execute("SELECT count(*) FROM cohort_changes").fetchall() == [(0,)]


def test_an_infinite_time_does_not_stop_the_sync(
    pg: psycopg.Connection, ch: Client, sync: Sync
) -> None:
    cohort = add_cohort(pg, "acme", "c")
    add_members(pg, cohort, add_users(pg, "acme"))
    pg.execute("UPDATE user_cohorts SET joined_at = 'infinity'")
    sync()
    [(joined_at,)] = ch.query("SELECT toString(joined_at) FROM user_cohorts").result_rows
    assert joined_at == "2200-01-01 00:00:00.000"
