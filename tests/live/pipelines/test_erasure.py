"""Erasure with a running sidecar: nothing is left, nothing is missing, and others stay.

One page, because each test fills all stores with the same people and looks through all of them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import dagster as dg
import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from config.names import DLQ_STREAM, EVENTS_STREAM, SINK_CONSUMER
from config.settings import Settings
from pipelines import event_stream
from pipelines.databases import Databases
from pipelines.defs.reconciliation.hour import Hour, compare_hour
from pipelines.defs.retention import erasure
from pipelines.defs.retention.apply import apply_retention
from pipelines.defs.retention.assets import ERASED_CHECK, erasures
from pipelines.defs.retention.definitions import erasure_job, reapply_job
from pipelines.defs.retention.erasure import (
    Erased,
    count_subject,
    erase,
    find_companies,
    reapply_erasures,
    verify_erasures,
)
from pipelines.defs.retention.plan import plan_retention
from pipelines.defs.retention.policies import follow_settings
from pipelines.defs.retention.subject import Subject
from pipelines.event_stream import EventStreams
from stream_api.streams import ensure_streams
from tests.live.conftest import NatsProcess
from tests.live.pipelines.population import add_cohort, add_members, add_users, set_company_policy
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess, environment, open_stream
from tests.live.waiting import until

ROOT = Path(__file__).parents[3]
COMPANY, OTHER = "acme", "other"


@pytest.fixture
def nats_url(nats_server: NatsProcess) -> str:
    return nats_server.url


@pytest.fixture
def streams(settings: Settings) -> EventStreams:
    return EventStreams(lambda: settings)


@pytest.fixture
def user(pg: psycopg.Connection) -> UUID:
    """A user of acme in every table of the platform, beside one who stays."""
    erased, staying = add_users(pg, COMPANY, 2, language="uk")
    cohort = add_cohort(pg, COMPANY, "both")
    add_members(pg, cohort, [erased, staying])
    pg.execute("INSERT INTO companies (id, name) VALUES (%s, 'Acme')", (COMPANY,))
    for one in (erased, staying):
        pg.execute("INSERT INTO company_users VALUES (%s, %s, 'member')", (COMPANY, one))
        pg.execute(
            "INSERT INTO user_journeys (company_id, user_id, current_stage) VALUES (%s, %s, 's')",
            (COMPANY, one),
        )
    pg.execute("UPDATE cohorts SET created_by = %s", (str(erased),))
    pg.execute(
        "INSERT INTO metrics_company_period (company_id, period_start, participants)"
        " VALUES (%s, '2026-01-01', 2)",
        (COMPANY,),
    )
    return erased


async def publish(producer: Producer, user: UUID) -> None:
    """Sixteen messages: the user's own, those that name them, others', and three dead letters."""
    for n in range(4):
        await producer.publish(COMPANY, userId=f"colleague-{n}", metricName="m", value=n, n=n)
        await producer.publish(COMPANY, userId=str(user), metricName="m", value=n, n=n)
        await producer.publish(OTHER, userId=str(user), metricName="m", value=n, n=n)
    await producer.publish(
        COMPANY, userId="mentor", metricName="m", value=9, mentee=str(user).upper()
    )
    await producer.raw(json.dumps({"companyId": COMPANY, "userId": str(user)}).encode()[:-1])
    await producer.raw(
        b'{"companyId":"acme","timestamp":"never","userId":"%s"}' % str(user).encode()
    )
    await producer.raw(b'{"companyId":"acme","timestamp":"never","userId":"colleague-1"}')
    await producer.nats.flush()


async def stored(ch: Client, events: int, letters: int) -> None:
    def counts() -> tuple[int, int]:
        return (
            ch.query("SELECT count() FROM events FINAL").result_rows[0][0],
            ch.query("SELECT count() FROM dead_letters FINAL").result_rows[0][0],
        )

    await until(counts, lambda found: found == (events, letters), seconds=20)


async def replayed(sidecar: SidecarProcess, last_id: str) -> list[str]:
    """Who is shown to a client that comes back with that id."""
    async with open_stream(sidecar.url, COMPANY, last_id) as reader:
        before, _ = await reader.until_connected()
    return [json.loads(event.data).get("userId", event.event) for event in before]


async def messages(producer: Producer, stream: str) -> int:
    return (await producer.nats.jetstream().stream_info(stream)).state.messages


def hour_state(settings: Settings, streams: EventStreams) -> str:
    """What the reconciliation says of the hour in which the test began."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with Databases(lambda: settings).clickhouse() as ch, streams.open() as stream:
        return compare_hour(stream, ch, Hour.of(now)).state


async def analytics(settings: Settings, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, output and errors of `analytics erase …`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "erase", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=environment(settings),
    )
    out, err = await process.communicate(stdin.encode())
    return process.returncode or 0, out.decode(), err.decode()


COLLEAGUES = [f"colleague-{n}" for n in range(4)]


async def test_a_user_is_gone_from_every_store_and_from_every_stream(
    sidecar: SidecarProcess,
    producer: Producer,
    settings: Settings,
    streams: EventStreams,
    user: UUID,
    pipeline_pg: psycopg.Connection,
    pipeline_ch: Client,
) -> None:
    pg, ch = pipeline_pg, pipeline_ch
    subject = Subject(COMPANY, str(user))
    async with open_stream(sidecar.url, COMPANY) as reader:
        await reader.until_connected()
        position = reader.last_id
    await publish(producer, user)
    await stored(ch, 13, 3)
    ch.command(
        "INSERT INTO user_cohorts (user_id, cohort_id, company_id, joined_at)"
        f" VALUES ('{user}', 'c', '{COMPANY}', now64(3)), ('x', 'c', '{COMPANY}', now64(3))"
    )
    assert len(await replayed(sidecar, position)) == 9
    backup = {
        table: ch.query(f"SELECT * FROM {table}").result_rows  # what a restore brings back
        for table in ("events", "metrics_timeseries", "dead_letters")
    }

    def count() -> dict[str, int]:
        with streams.open() as stream:
            return count_subject(pg, ch, stream, subject)

    expected = {
        "postgres.users": 1,
        "postgres.company_users": 1,
        "postgres.user_journeys": 1,
        "postgres.user_cohorts": 1,
        "postgres.cohorts.created_by": 1,
        "clickhouse.events": 5,
        "clickhouse.metrics_timeseries": 4,
        "clickhouse.user_cohorts": 1,
        "clickhouse.dead_letters": 2,
        "jetstream.ANALYTICS_EVENTS": 7,
        "jetstream.ANALYTICS_DLQ": 2,
    }
    assert await asyncio.to_thread(count) == expected
    assert await messages(producer, EVENTS_STREAM) == 16, "counting deleted something"

    def do() -> None:
        with streams.open() as stream:
            erased = erase(
                pg, ch, stream, subject, datetime.now(UTC), requested_by="test", run_id="r"
            )
        assert erased.verified
        assert erased.counts == expected

    await asyncio.to_thread(do)
    assert await asyncio.to_thread(count) == {}
    assert await messages(producer, EVENTS_STREAM) == 9
    assert await messages(producer, DLQ_STREAM) == 1
    left = ch.query("SELECT company_id, user_id FROM events ORDER BY 1, 2").result_rows
    assert left == [(COMPANY, one) for one in COLLEAGUES] + [(OTHER, str(user))] * 4
    metrics = ch.query("SELECT company_id, user_id FROM metrics_timeseries ORDER BY 1, 2")
    assert metrics.result_rows == left, "the mentor's row about them went with its event"
    assert ch.query("SELECT count() FROM dead_letters").result_rows == [(1,)]
    assert pg.execute("SELECT count(*) FROM users").fetchone() == (1,)
    assert pg.execute("SELECT user_count FROM journey_stage_distribution_mv").fetchall() == [(1,)]
    assert await asyncio.to_thread(hour_state, settings, streams) == "balanced"

    async with asyncio.timeout(15):  # the sidecar's ring, without a restart
        while await replayed(sidecar, position) != COLLEAGUES:  # noqa: ASYNC110 - no event says it
            await asyncio.sleep(0.2)

    # They come back and send something new; then a backup from before the erasure is restored,
    # with a ledger that knows nothing of it.
    await producer.publish(COMPANY, userId=str(user), metricName="m", value=1)
    await stored(ch, 9, 1)
    for table, rows in backup.items():
        ch.insert(table, rows)
    pg.execute(
        "INSERT INTO users (id, company_id, created_at) VALUES (%s, %s, now() - interval '1 day')",
        (user, COMPANY),
    )
    pg.execute("DELETE FROM erasures")

    def after_restore() -> None:
        with streams.open() as stream:
            (again,) = reapply_erasures(pg, ch, stream)
            assert again.verified
            assert again.counts == {
                "postgres.users": 1,
                "clickhouse.events": 5,
                "clickhouse.metrics_timeseries": 4,
                "clickhouse.dead_letters": 2,
            }
            (harmless,) = reapply_erasures(pg, ch, stream)
            assert (harmless.counts, harmless.left_over) == ({}, {})
            assert verify_erasures(pg, ch, stream) == {}

    await asyncio.to_thread(after_restore)
    new = ch.query(f"SELECT count() FROM events WHERE user_id = '{user}' AND company_id = 'acme'")
    assert new.result_rows == [(1,)], "what came in after the erasure is new data"
    assert pg.execute(
        "SELECT requested_by, verified_at > erased_at FROM erasures WHERE user_id = %s",
        (str(user),),
    ).fetchall() == [("test", True)]


async def test_a_user_is_erased_by_command_and_their_company_by_the_job(
    sidecar: SidecarProcess,
    producer: Producer,
    settings: Settings,
    streams: EventStreams,
    user: UUID,
    pipeline_pg: psycopg.Connection,
    pipeline_ch: Client,
) -> None:
    pg, ch = pipeline_pg, pipeline_ch
    add_cohort(pg, OTHER, "kept")
    set_company_policy(pg, "events", COMPANY, 500)
    await publish(producer, user)
    await stored(ch, 13, 3)
    assert find_companies(pg, str(user)) == [COMPANY]
    code, out, err = await analytics(settings, "user", str(user), stdin="n\n")
    assert (code, err.splitlines()) == (1, ["looking through the streams", "nothing was erased"])
    assert "clickhouse.events 5" in out
    assert await messages(producer, EVENTS_STREAM) == 16
    code, out, _ = await analytics(settings, "user", str(user), "--yes", "--json", "--by", "dpo")
    (erased,) = json.loads(out)["erased"]
    assert (code, erased["verified"], erased["companyId"]) == (0, True, COMPANY)
    assert erased["counts"]["jetstream.ANALYTICS_EVENTS"] == 7

    resources = {"databases": Databases(lambda: settings), "event_streams": streams}
    instance = dg.DagsterInstance.ephemeral()

    def run(job: str, **config: object) -> tuple[dict[str, object], dg.AssetCheckEvaluation]:
        resolved = dg.Definitions(
            assets=[erasures], jobs=[erasure_job, reapply_job], resources=resources
        ).resolve_job_def(job)
        ops = {"ops": {"erasures": {"config": config}}}
        result = resolved.execute_in_process(run_config=ops if config else None, instance=instance)
        (check,) = result.get_asset_check_evaluations()
        (made,) = result.get_asset_materialization_events()
        values = {name: entry.value for name, entry in made.materialization.metadata.items()}
        return values, check

    shown, _ = await asyncio.to_thread(lambda: run("erasure", company_id=COMPANY))
    assert shown["dry_run"] is True
    assert await messages(producer, EVENTS_STREAM) == 9
    done, check = await asyncio.to_thread(
        lambda: run("erasure", company_id=COMPANY, dry_run=False, requested_by="dpo")
    )
    assert done["by_store"] == shown["by_store"]
    assert (check.check_name, check.passed) == (ERASED_CHECK, True)
    stores = done["by_store"]
    assert isinstance(stores, dict)
    assert stores["clickhouse.events"] == 4
    assert stores["postgres.users"] == 1
    assert stores["postgres.retention_policies"] == 1
    assert stores["jetstream.ANALYTICS_DLQ"] == 1
    for table in ("events", "metrics_timeseries", "cohorts", "user_cohorts", "dead_letters"):
        found = ch.query(f"SELECT DISTINCT company_id FROM {table}").result_rows
        assert set(found) <= {(OTHER,), (None,)}, table
    assert pg.execute("SELECT company_id FROM cohorts").fetchall() == [(OTHER,)]
    assert pg.execute("SELECT count(*) FROM company_dashboard_mv").fetchone() == (0,)
    assert await messages(producer, EVENTS_STREAM) == 4
    assert await asyncio.to_thread(hour_state, settings, streams) == "balanced"

    # A restore brings a row back: the check names it, and the ledger takes it out again.
    moment = (datetime.now(UTC) - timedelta(days=1)).replace(tzinfo=None)
    ch.insert(
        "events",
        [["metrics.x-1-1", "metrics.x", COMPANY, None, moment, moment, 1, "{}"]],
    )
    _, check = await asyncio.to_thread(lambda: run("erasure"))
    assert not check.passed
    assert "clickhouse.events 1" in (check.description or "")
    _, check = await asyncio.to_thread(lambda: run("reapply_erasures"))
    assert check.passed
    assert ch.query("SELECT DISTINCT company_id FROM events").result_rows == [(OTHER,)]
    code, out, _ = await analytics(settings, "verify")
    assert (code, out.strip()) == (0, "nothing is left")


async def test_streams_are_widened_to_their_policy_and_never_narrowed_unasked(
    producer: Producer,
    settings: Settings,
    streams: EventStreams,
    pipeline_pg: psycopg.Connection,
    pipeline_ch: Client,
) -> None:
    pg, ch = pipeline_pg, pipeline_ch
    js = producer.nats.jetstream()
    await ensure_streams(js, settings)
    info = await js.stream_info(EVENTS_STREAM)
    await js.update_stream(info.config.evolve(max_age=3600))
    info = await js.stream_info(DLQ_STREAM)
    await js.update_stream(info.config.evolve(max_age=90 * 86_400))

    def apply(narrow: bool) -> dict[str, tuple[str, str]]:
        now = datetime.now(UTC)
        with streams.open() as stream:
            follow_settings(pg, settings)
            plan = plan_retention(pg, ch, now, stream, narrow_streams=narrow)
            done = apply_retention(pg, ch, plan, now, stream)
        return {one.table_name: (one.action, one.outcome) for one in done}

    assert await asyncio.to_thread(apply, False) == {EVENTS_STREAM: ("widen", "done")}
    assert (await js.stream_info(EVENTS_STREAM)).config.max_age == 24 * 3600
    assert (await js.stream_info(DLQ_STREAM)).config.max_age == 90 * 86_400
    assert await asyncio.to_thread(apply, True) == {DLQ_STREAM: ("narrow", "done")}
    assert (await js.stream_info(DLQ_STREAM)).config.max_age == 30 * 86_400


async def test_messages_are_deleted_with_and_without_their_bytes_and_once(
    producer: Producer, settings: Settings, streams: EventStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    js = producer.nats.jetstream()
    await ensure_streams(js, settings)
    for n in range(4):
        await js.publish("metrics.x", b"%d" % n)

    def delete(seqs: list[int]) -> int:
        with streams.open() as stream:
            return stream.delete(EVENTS_STREAM, seqs)

    assert await asyncio.to_thread(delete, [2]) == 1
    assert await asyncio.to_thread(delete, [2]) == 0
    monkeypatch.setattr(event_stream, "OVERWRITTEN_MESSAGES", 0)
    assert await asyncio.to_thread(delete, [3, 4]) == 2
    state = (await js.stream_info(EVENTS_STREAM)).state
    assert (state.messages, state.first_seq, state.last_seq) == (1, 1, 4)


async def test_an_erasure_waits_for_what_a_sink_holds(
    producer: Producer,
    settings: Settings,
    streams: EventStreams,
    pipeline_pg: psycopg.Connection,
    pipeline_ch: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    js = producer.nats.jetstream()
    await ensure_streams(js, settings)
    await js.publish("metrics.x", b'{"companyId":"acme"}')
    sink = await js.pull_subscribe_bind(SINK_CONSUMER, EVENTS_STREAM)
    (held,) = await sink.fetch(1)
    monkeypatch.setattr(erasure, "SINK_SECONDS", 0.2)

    def do() -> Erased:
        with streams.open() as stream:
            now = datetime.now(UTC)
            return erase(
                *(pipeline_pg, pipeline_ch, stream, Subject(COMPANY), now), requested_by="test"
            )

    erased = await asyncio.to_thread(do)
    assert not erased.verified
    assert erased.left_over == {"sink.holds_messages": 1}
    ledger = "SELECT left_over, verified_at FROM erasures ORDER BY erased_at"
    assert pipeline_pg.execute(ledger).fetchall() == [({"sink.holds_messages": 1}, None)]
    await held.ack_sync()
    assert (await asyncio.to_thread(do)).verified
