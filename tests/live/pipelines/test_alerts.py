"""Alerts, from what goes wrong to a real receiver.

One page, because every source of trouble goes through the same tick, receiver and table.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import httpx
import nats
import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from cli.__main__ import main
from config import Settings
from config.names import EVENT_SUBJECTS, EVENTS_STREAM, SINK_CONSUMER
from pipelines.databases import Databases
from pipelines.definitions import defs
from pipelines.defs.alerts.condition import Condition, Severity
from pipelines.defs.alerts.evaluation import evaluate
from pipelines.defs.alerts.masking import mask
from pipelines.defs.alerts.receiver import PAUSES_SECONDS, NotDeliveredError, Webhook
from pipelines.defs.alerts.sensor import alerts_sensor
from pipelines.defs.alerts.sources.checks import failed_checks
from pipelines.defs.alerts.sources.stream import sink_troubles
from pipelines.defs.alerts.sources.views import stale_views
from pipelines.defs.materialized_views.refresh import refresh_view
from pipelines.event_stream import EventStreams, SinkLag
from tests.live.conftest import NatsProcess
from tests.live.http_receiver import HttpReceiver, http_receiver
from tests.live.sidecar import SidecarProcess

SECRET = "hunter2-hunter2"


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as running:
        yield running


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    # An ephemeral one keeps no ticks.
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture(autouse=True)
def fresh_views(pg: psycopg.Connection) -> None:
    """As old as the template database they would be stale once the other tests took long."""
    pg.execute("UPDATE analytics_mv_refreshes SET started_at = now()")


@pytest.fixture
def quiet(settings: Settings, receiver: HttpReceiver) -> Settings:
    """Only Dagster and Postgres are looked at: nothing else runs in most of these tests."""
    return settings.model_copy(
        update={
            "clickhouse_enabled": False,
            "streaming_enabled": False,
            "alert_webhook_url": SecretStr(receiver.url),
        }
    )


def tick(
    instance: dg.DagsterInstance, settings: Settings, cursor: str | None = None
) -> dg.SensorResult:
    with dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        repository_def=defs.get_repository_def(),
        resources={
            "databases": Databases(lambda: settings),
            "event_streams": EventStreams(lambda: settings),
            "read_settings": lambda: settings,
        },
    ) as context:
        result = alerts_sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def told(receiver: HttpReceiver) -> list[tuple[str, str, str]]:
    """State, key and text of what the messages since the last call carry."""
    return [
        (one["state"], one["key"], one["text"])
        for body in receiver.take()
        for one in body["alerts"]
    ]


def failing_job(broken: bool) -> dg.JobDefinition:
    @dg.op
    def copy_rows() -> None:
        if broken:
            raise RuntimeError(f"no route to postgresql://teei:{SECRET}@db/x password={SECRET}")

    @dg.job(name="nightly")
    def nightly() -> None:
        copy_rows()

    return nightly


def test_a_failed_run_is_told_once_by_name_and_its_success_too(
    instance: dg.DagsterInstance, quiet: Settings, receiver: HttpReceiver, pg: psycopg.Connection
) -> None:
    failing_job(True).execute_in_process(instance=instance, raise_on_error=False)
    tick(instance, quiet)
    [(state, key, text)] = told(receiver)
    assert (state, key) == ("open", "run/nightly")
    assert text.startswith("run of nightly failed")
    assert "copy_rows: RuntimeError: no route to postgresql://***@db/x" in text
    assert SECRET not in text

    # Nothing but the table carries state, so this is a restart as well.
    tick(instance, quiet)
    assert told(receiver) == []
    pg.execute("UPDATE alerts SET next_send_at = next_send_at - interval '1 hour'")
    tick(instance, quiet)
    assert [(state, key) for state, key, _ in told(receiver)] == [("repeated", "run/nightly")]

    failing_job(False).execute_in_process(instance=instance)
    tick(instance, quiet)
    assert [(state, key) for state, key, _ in told(receiver)] == [("resolved", "run/nightly")]
    tick(instance, quiet)
    assert told(receiver) == []
    rows = pg.execute("SELECT key, sends, resolved_at IS NOT NULL FROM alerts").fetchall()
    assert rows == [("run/nightly", 2, True)]


def test_one_message_names_everything_the_worst_first(
    instance: dg.DagsterInstance, quiet: Settings, receiver: HttpReceiver, pg: psycopg.Connection
) -> None:
    failing_job(True).execute_in_process(instance=instance, raise_on_error=False)
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("reconciliations"),
            check_name="every_event_is_stored_once",
            passed=False,
            severity=dg.AssetCheckSeverity.ERROR,
            description="missing 2 [17, 18]",
        )
    )
    pg.execute("DROP INDEX program_performance_mv_key")
    with Databases(lambda: quiet).postgres() as connection:
        refresh_view(connection, "program_performance_mv", "test")
    tick(instance, quiet)
    [body] = receiver.take()
    assert body["text"].splitlines()[0] == "analytics: 3 alerts"
    assert "missing 2 [17, 18]" in body["text"]
    texts = {one["key"]: one["text"] for one in body["alerts"]}
    assert set(texts) == {
        "run/nightly",
        "check/reconciliations/every_event_is_stored_once",
        "view/program_performance_mv",
    }
    view = texts["view/program_performance_mv"]
    assert re.match(r"program_performance_mv could not be refreshed: cannot refresh .* old", view)


def test_what_the_receiver_does_not_take_is_an_error_and_told_by_the_next_tick(
    instance: dg.DagsterInstance,
    quiet: Settings,
    receiver: HttpReceiver,
    pg: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipelines.defs.alerts.receiver.PAUSES_SECONDS", (0.01,))
    failing_job(True).execute_in_process(instance=instance, raise_on_error=False)
    receiver.answers = [503, 500]
    with pytest.raises(NotDeliveredError, match=r"127\.0\.0\.1 answered 500"):
        tick(instance, quiet)
    assert pg.execute("SELECT sends, last_sent_at FROM alerts").fetchall() == [(0, None)]
    assert len(receiver.take()) == 2
    # Meanwhile it is over: what nobody was told of is told as resolved.
    failing_job(False).execute_in_process(instance=instance)
    tick(instance, quiet)
    assert [(state, key) for state, key, _ in told(receiver)] == [("resolved", "run/nightly")]


def test_a_webhook_pauses_between_attempts_and_gives_up_at_once_where_it_is_refused(
    receiver: HttpReceiver,
) -> None:
    slept: list[float] = []
    hook = Webhook(receiver.url, slept.append)
    receiver.answers = [429, 503]
    assert hook.send({"text": "x"}) == "127.0.0.1 answered 200 'ok'"
    assert slept == list(PAUSES_SECONDS)
    receiver.take()
    receiver.answers = [404]
    with pytest.raises(NotDeliveredError, match="answered 404") as refused:
        hook.send({"text": "x"})
    assert len(receiver.take()) == 1
    assert "s3cret-path" not in str(refused.value)


def test_a_receiver_that_is_not_there_is_named_without_its_secret_path() -> None:
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(http_receiver()).url
    hook = Webhook(url, lambda _: None)
    with pytest.raises(NotDeliveredError, match="can't be reached") as refused:
        hook.send({"text": "x"})
    assert "s3cret-path" not in str(refused.value)


def test_without_a_webhook_alerts_are_kept_and_logged(
    instance: dg.DagsterInstance,
    quiet: Settings,
    receiver: HttpReceiver,
    pg: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    unset = quiet.model_copy(update={"alert_webhook_url": None})
    failing_job(True).execute_in_process(instance=instance, raise_on_error=False)
    tick(instance, unset)
    tick(instance, unset)
    lines = [record.message for record in caplog.records if "run of nightly" in record.message]
    assert len(lines) == 1
    assert pg.execute("SELECT key, told_to FROM alerts").fetchall() == [("run/nightly", "log")]
    # As soon as somebody listens, it is told what is open.
    tick(instance, quiet)
    assert [key for _, key, _ in told(receiver)] == ["run/nightly"]


def test_a_failed_check_of_one_partition_is_not_hidden_by_the_next_partition(
    instance: dg.DagsterInstance,
) -> None:
    outcome = {"first": False, "second": True}

    @dg.asset(
        partitions_def=dg.StaticPartitionsDefinition(["first", "second"]),
        check_specs=[dg.AssetCheckSpec("complete", asset="hours")],
    )
    def hours(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        passed = outcome[context.partition_key]
        return dg.MaterializeResult(
            check_results=[dg.AssetCheckResult(passed=passed, description="missing 1 [7]")]
        )

    key = dg.AssetCheckKey(dg.AssetKey("hours"), "complete")

    def found() -> list[str]:
        return [one.key for one in failed_checks(instance, [key], datetime.now(UTC))]

    for partition in ("first", "second"):
        dg.materialize([hours], partition_key=partition, instance=instance)
    assert found() == ["check/hours/complete/first"]
    outcome["first"] = True
    dg.materialize([hours], partition_key="first", instance=instance)
    assert found() == []


def test_what_cannot_be_asked_is_an_error_of_its_own_and_resolves_nothing(
    pg: psycopg.Connection, receiver: HttpReceiver
) -> None:
    hook, began = Webhook(receiver.url), datetime.now(UTC)
    lag = Condition("stream/lag", Severity.WARNING, "the sink is behind", "alert-stream")

    def away() -> list[Condition]:
        raise ConnectionError(f"nats://user:{SECRET}@host is away")

    def hide(text: str) -> str:
        return mask(text, Settings())

    evaluate(pg, {"stream": lambda: [lag]}, hook, hide, began)
    assert [key for _, key, _ in told(receiver)] == ["stream/lag"]
    for minutes, expected in ((1, []), (4, ["unchecked/stream"])):
        now = began + timedelta(minutes=minutes)
        result = evaluate(pg, {"stream": away}, hook, hide, now)
        assert [key for _, key, _ in told(receiver)] == expected
        assert {one.key for one in result.open} == {"stream/lag", "unchecked/stream"}
    now = began + timedelta(minutes=5)
    evaluate(pg, {"stream": list}, hook, hide, now)
    ended = told(receiver)
    assert {(state, key) for state, key, _ in ended} == {
        ("resolved", "stream/lag"),
        ("resolved", "unchecked/stream"),
    }
    assert SECRET not in str(ended)


def test_the_command_line_lists_what_is_open_the_worst_first(
    pg: psycopg.Connection,
    settings: Settings,
    receiver: HttpReceiver,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())

    def listed(*options: str) -> str:
        with contextlib.suppress(SystemExit):
            main(["alert", "list", *options])
        return capsys.readouterr().out

    assert listed() == "no open alerts\n"
    wrong = [
        Condition("run/a", Severity.WARNING, "a is wrong", "alert-run"),
        Condition("run/b", Severity.CRITICAL, "b is wrong", "alert-run"),
    ]
    evaluate(pg, {"run": lambda: wrong}, Webhook(receiver.url), str, datetime.now(UTC))
    lines = listed().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "[critical] b is wrong",
        "[warning] a is wrong",
    ]
    [worst, _] = json.loads(listed("--json"))["alerts"]
    assert (worst["key"], worst["sends"]) == ("run/b", 1)


def test_a_stale_view_is_named_with_its_age_by_its_own_cadence(pg: psycopg.Connection) -> None:
    pg.execute("UPDATE analytics_mv_refreshes SET started_at = started_at - interval '3 hours'")
    pg.execute("UPDATE analytics_mvs SET every_minutes = 120 WHERE view <> 'company_dashboard_mv'")
    [found] = stale_views(pg)
    assert found.key == "view/company_dashboard_mv"
    assert "is not refreshed every 5 min: its data is 3 h old" in found.text


def test_a_view_of_the_night_is_not_stale_by_day(pg: psycopg.Connection) -> None:
    def made(hours: int) -> list[str]:
        pg.execute(
            "UPDATE analytics_mv_refreshes SET started_at = now() - make_interval(hours => %s)",
            (hours,),
        )
        return [one.key for one in stale_views(pg)]

    pg.execute("UPDATE analytics_mvs SET every_minutes = 1440")
    pg.execute(
        "UPDATE analytics_mvs SET every_minutes = 60, first_hour = 22, last_hour = 5 "
        "WHERE view = 'company_dashboard_mv'"
    )
    # 17 hours closed and three missed refreshes; three days and three.
    assert made(20) == []
    assert made(21) == ["view/company_dashboard_mv"]
    assert len(made(73)) == 4


async def test_the_sink_is_watched_on_the_stream(nats_server: NatsProcess) -> None:
    streams = EventStreams(lambda: Settings(nats_url=SecretStr(nats_server.url)))

    def troubles() -> list[str]:
        with streams.open() as stream:
            return [one.key for one in sink_troubles(stream)]

    def waiting() -> SinkLag | None:
        with streams.open() as stream:
            return stream.sink_lag()

    assert await asyncio.to_thread(troubles) == ["stream/missing"]
    client = await nats.connect(nats_server.url)
    js = client.jetstream()
    await js.add_stream(
        name=EVENTS_STREAM, subjects=list(EVENT_SUBJECTS), max_age=3600, allow_direct=True
    )
    assert await asyncio.to_thread(troubles) == ["stream/consumer"]
    consumer = await js.pull_subscribe("", durable=SINK_CONSUMER, stream=EVENTS_STREAM)
    await js.publish("metrics.x", b"{}")
    lag = await asyncio.to_thread(waiting)
    assert lag is not None
    assert (lag.events, lag.window_seconds) == (1, 3600)
    assert 0 < lag.seconds < 30
    assert await asyncio.to_thread(troubles) == []
    [message] = await consumer.fetch(1)
    await message.ack_sync()
    assert await asyncio.to_thread(waiting) == SinkLag(0, 0.0, 3600)
    await client.close()


class TestSidecar:
    """With a sidecar and a NATS server of the test's own."""

    @pytest.fixture
    def nats_url(self, nats_server: NatsProcess) -> str:
        return nats_server.url

    def test_refused_streams_and_an_absent_sidecar_are_told(
        self,
        settings: Settings,
        receiver: HttpReceiver,
        instance: dg.DagsterInstance,
        ch: Client,
    ) -> None:
        with SidecarProcess(settings, STREAM_MAX_CONNECTIONS_PER_COMPANY="1") as sidecar:
            watched = settings.model_copy(
                update={
                    "port_analytics": int(sidecar.url.rpartition(":")[2]),
                    "alert_webhook_url": SecretStr(receiver.url),
                }
            )
            cursor = tick(instance, watched).cursor
            assert told(receiver) == []
            url = f"{sidecar.url}/stream/updates?companyId=acme"
            with httpx.stream("GET", url) as open_stream:
                assert open_stream.status_code == 200
                for _ in range(12):
                    assert httpx.get(url).status_code == 429
            cursor = tick(instance, watched, cursor).cursor
            [(_, key, text)] = told(receiver)
            assert key == "sidecar/failures"
            assert "12 of 13 were refused" in text
        result = tick(instance, watched, cursor)
        # Its patience is a minute: it is open, and nobody is told yet.
        assert "sidecar/away" in str(result.skip_reason)
        assert [key for _, key, _ in told(receiver)] == ["sidecar/failures"]
