"""What the doctor says of faults that are made on purpose, on databases of the test's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import nats
import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from cli.doctor import clickhouse, machine, postgres
from cli.doctor import nats as streams
from cli.doctor.check import Finding, State
from cli.doctor.probe import SUBJECT, event_goes_through
from cli.doctor.runbook import Entry
from cli.doctor.servers import DOCTOR_COMPANY, Servers
from cli.doctor.sidecar import stream_flows
from config.names import EVENTS_STREAM
from config.settings import Settings
from pipelines.defs.cohorts.change_log import CHECKPOINT_NAME, sync_lock
from sql import statement
from stream_api.streams import ensure_streams
from tests.live.sidecar import SidecarProcess

SECRET = "a secret of at least thirty-two bytes"


@pytest.fixture
def servers(settings: Settings) -> Servers:
    return Servers.of(settings)


def said(finding: Finding) -> tuple[State, Entry | None]:
    return finding.state, finding.see


def test_migrations_that_lack_or_were_edited(servers: Servers, pg: psycopg.Connection) -> None:
    assert postgres.postgres_is_migrated(servers).state is State.OK
    assert postgres.clickhouse_is_migrated(servers).state is State.OK
    pg.execute("DELETE FROM schema_migrations WHERE name = '0003_cohort_changes'")
    lacking = postgres.postgres_is_migrated(servers)
    assert said(lacking) == (State.FAILED, Entry.MIGRATIONS_PENDING)
    assert "0003_cohort_changes" in lacking.text
    pg.execute("UPDATE schema_migrations SET checksum = 'x' WHERE name = '0002_cohorts'")
    edited = postgres.postgres_is_migrated(servers)
    assert said(edited) == (State.FAILED, Entry.MIGRATION_REFUSED)


def test_a_view_that_grows_old_and_one_that_fails(servers: Servers, pg: psycopg.Connection) -> None:
    # The template that the database was copied from may have been refreshed long ago.
    pg.execute("SELECT refresh_analytics_materialized_views()")
    assert postgres.views_are_fresh(servers).state is State.OK
    pg.execute(
        "UPDATE analytics_mv_refreshes SET started_at = started_at - interval '20 minutes'"
        " WHERE view = 'program_performance_mv'"
    )
    old = postgres.views_are_fresh(servers)
    assert said(old) == (State.FAILED, Entry.VIEWS_STALE)
    assert old.text.startswith(
        "program_performance_mv is not refreshed every 5 min: its data is 20 min old"
    )
    pg.execute("DROP MATERIALIZED VIEW journey_stage_distribution_mv")
    pg.execute("SELECT refresh_analytics_materialized_views()")
    broken = postgres.views_are_fresh(servers)
    assert said(broken) == (State.FAILED, Entry.REFRESH_FAILS)
    assert "journey_stage_distribution_mv could not be refreshed: " in broken.text


def test_a_filter_that_can_not_be_evaluated(servers: Servers, pg: psycopg.Connection) -> None:
    assert postgres.filters_are_valid(servers).state is State.OK
    [(cohort,)] = pg.execute(
        "INSERT INTO cohorts (company_id, name) VALUES ('acme', 'Mentees') RETURNING id"
    ).fetchall()
    pg.execute(
        "INSERT INTO cohort_filter_errors (cohort_id, company_id, error)"
        " VALUES (%s, 'acme', 'unknown filter key')",
        (cohort,),
    )
    found = postgres.filters_are_valid(servers)
    assert said(found) == (State.WARNING, Entry.COHORT_EMPTY)
    assert found.text == "'Mentees' of acme: unknown filter key"


def test_changes_that_nobody_took_and_sides_that_differ(
    servers: Servers, pg: psycopg.Connection, ch: Client
) -> None:
    unsynced = postgres.both_sides_agree(servers)
    assert said(unsynced) == (State.WARNING, Entry.COHORT_NOT_SYNCED)
    assert said(postgres.changes_are_taken(servers)) == (State.WARNING, Entry.POSTGRES_RESTORED)
    [(identity, snapshot)] = pg.execute(
        "SELECT cohort_change_log_identity(), pg_current_snapshot()::text"
    ).fetchall()
    for reader in ("membership", "clickhouse"):
        pg.execute(
            statement("postgres/upsert_watermark"),
            {"reader": reader, "identity": identity, "snapshot": snapshot},
        )
    position = json.dumps({"identity": identity, "snapshot": snapshot})
    ch.command(
        statement("clickhouse/insert_checkpoint"),
        parameters={"name": CHECKPOINT_NAME, "position": position},
    )
    assert postgres.changes_are_taken(servers).state is State.OK
    assert postgres.both_sides_agree(servers).state is State.OK

    ch.command(
        "INSERT INTO cohorts (cohort_id, company_id, name, description, filters, created_at,"
        " updated_at) VALUES ('c', 'acme', 'by hand', '', '{}', now(), now())"
    )
    differing = postgres.both_sides_agree(servers)
    assert said(differing) == (State.FAILED, Entry.PARITY)
    assert differing.text.startswith("acme: cohort c is extra in ClickHouse; start the job")

    pg.execute("INSERT INTO cohorts (company_id, name) VALUES ('acme', 'new')")
    waiting = postgres.changes_are_taken(servers)
    assert said(waiting) == (State.WARNING, Entry.COHORT_NOT_SYNCED)
    assert waiting.text.startswith("1 changes wait for clickhouse")


def test_a_sync_under_way_is_no_difference(
    servers: Servers, pg: psycopg.Connection, ch: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ch.command(
        statement("clickhouse/insert_checkpoint"),
        parameters={"name": CHECKPOINT_NAME, "position": '{"identity": "x", "snapshot": "1:1:"}'},
    )
    monkeypatch.setattr("cli.doctor.servers.ANSWER_SECONDS", 0.2)
    with sync_lock(pg):
        found = postgres.both_sides_agree(servers)
    assert said(found) == (State.WARNING, Entry.COHORT_NOT_SYNCED)
    assert found.text.startswith("a sync is under way")


def test_partitions_of_impossible_days_and_dead_letters(servers: Servers, ch: Client) -> None:
    assert clickhouse.partitions_are_ours(servers).state is State.OK
    assert clickhouse.dead_letters_are_few(servers).state is State.OK
    ch.command(
        "INSERT INTO events (event_id, event_type, company_id, timestamp, received_at,"
        " stream_seq, payload) VALUES ('a-1-1', 'a', 'acme', now(), now() + INTERVAL 9 DAY, 1, '')"
    )
    stray = clickhouse.partitions_are_ours(servers)
    assert said(stray) == (State.WARNING, Entry.STRAY_PARTITIONS)
    assert stray.text.startswith("events ")
    assert stray.text.endswith(": in the future, 1 rows")
    ch.command(
        "INSERT INTO dead_letters (dead_letter_id, subject, stream_seq, received_at, reason)"
        " VALUES ('a-1-1', 'a', 1, now(), 'not_json')"
    )
    letters = clickhouse.dead_letters_are_few(servers)
    assert said(letters) == (State.WARNING, Entry.DEAD_LETTERS)
    assert letters.text.startswith("open: not_json 1; 1 came in within the last hour")


def test_parts_against_the_limit(
    servers: Servers, ch: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ch.command("SYSTEM STOP MERGES dead_letters")
    for number in range(3):
        ch.command(
            "INSERT INTO dead_letters (dead_letter_id, subject, stream_seq, received_at)"
            f" VALUES ('a', 'a', {number}, now())"
        )
    monkeypatch.setattr(clickhouse, "WARNING_SHARE_OF_PARTS", 0.002)
    many = clickhouse.parts_are_few(servers)
    assert said(many) == (State.WARNING, Entry.TOO_MANY_PARTS)
    assert many.text.startswith("dead_letters has 3 parts in partition ")


async def test_streams_consumer_and_lag(
    settings: Settings, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(check: Callable[[Servers], Finding]) -> Finding:
        # A check blocks, and has a loop of its own.
        return await asyncio.to_thread(check, servers)

    assert (await look(streams.nats_answers)).state is State.OK
    missing = await look(streams.streams_exist)
    assert said(missing) == (State.FAILED, Entry.STREAM_MISSING)

    connection = await nats.connect(settings.nats_url.get_secret_value())
    js = connection.jetstream()
    await ensure_streams(js, settings)
    assert (await look(streams.streams_exist)).state is State.OK
    assert said(await look(streams.events_are_published)) == (
        State.WARNING,
        Entry.NOTHING_PUBLISHED,
    )
    assert (await look(streams.sink_keeps_up)).state is State.OK

    await js.publish("metrics.a", b'{"companyId":"acme"}')
    assert (await look(streams.events_are_published)).state is State.OK
    # Nobody stores it. An old one would take a minute to grow old.
    monkeypatch.setattr(streams, "WARNING_LAG_SECONDS", 0.001)
    behind = await look(streams.sink_keeps_up)
    assert said(behind) == (State.WARNING, Entry.SINK_LAG)
    assert behind.text.startswith("1 events, the oldest ")
    monkeypatch.setattr(streams, "FAILED_LAG_SECONDS", 0.001)
    assert said(await look(streams.sink_keeps_up)) == (State.FAILED, Entry.SINK_LAG)

    info = await js.stream_info(EVENTS_STREAM)
    await js.update_stream(info.config.evolve(max_age=3600))
    narrow = await look(streams.streams_exist)
    assert said(narrow) == (State.WARNING, Entry.STREAM_NARROW)
    assert "keeps 60 min, RETENTION_REPLAY_HOURS says 24 h" in narrow.text
    await js.delete_consumer(EVENTS_STREAM, "clickhouse-sink")
    assert said(await look(streams.consumer_exists)) == (State.FAILED, Entry.STREAM_MISSING)
    await connection.close()


def test_a_clock_that_is_ahead(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.clocks_agree(servers).state is State.OK
    real = machine.time.time
    monkeypatch.setattr(machine.time, "time", lambda: real() - 300)
    found = machine.clocks_agree(servers)
    assert said(found) == (State.FAILED, Entry.CLOCKS)
    assert "is 5 min ahead of this machine's" in found.text


def test_a_probe_is_streamed_and_stored_and_is_no_metric(settings: Settings, ch: Client) -> None:
    with SidecarProcess(settings, JWT_SECRET=SECRET, CLICKHOUSE_BATCH_TIMEOUT_MS="200") as sidecar:
        port = int(sidecar.url.rpartition(":")[2])
        here = settings.model_copy(update={"port_analytics": port})
        without = stream_flows(Servers.of(here))
        # Without a secret of ours tokens come from elsewhere: that is no fault.
        assert without.state is State.SKIPPED
        wrong = stream_flows(Servers.of(here, token="no token"))
        assert said(wrong) == (State.FAILED, Entry.STREAM_401)

        signing = settings.model_validate(
            {**here.model_dump(), "jwt_secret": SECRET, "port_analytics": port}
        )
        assert stream_flows(Servers.of(signing)).state is State.OK
        found = event_goes_through(Servers.of(signing))
        assert found.state is State.OK, found
        assert ", stored after " in found.text
    rows = ch.query("SELECT company_id, event_type FROM events").result_rows
    assert rows == [(DOCTOR_COMPANY, SUBJECT)]
    assert ch.query("SELECT count() FROM metrics_timeseries").result_rows == [(0,)]
