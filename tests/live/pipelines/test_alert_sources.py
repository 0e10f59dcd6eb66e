"""What Dagster's own daemons find: ticks that raise, assets that are stale; and dead letters.

The daemons' loops run here on the real definitions, without a code server's process.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.freshness import FreshnessDaemon
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs
from pydantic import SecretStr

from config import Settings
from pipelines.definitions import defs
from pipelines.defs.alerts.sources.freshness import stale_assets
from pipelines.defs.alerts.sources.letters import MANY, new_letters
from pipelines.defs.alerts.sources.ticks import failed_ticks
from tests.live.http_receiver import http_receiver
from tests.live.pipelines.test_alerts import tick, told

REPOSITORY = Path(__file__).parents[3]
LOG = logging.getLogger("daemons")
AWAY = "postgresql://teei@127.0.0.1:1/none"
SENSORS = ["tick/cohort_changes_sensor", "tick/dead_letters_sensor"]


@pytest.fixture
def workspace() -> Iterator[WorkspaceProcessContext]:
    """Our definitions and an instance of their own."""
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(module_name="pipelines.definitions", working_directory=str(REPOSITORY))
    )
    with (
        dg.instance_for_test() as instance,
        create_test_daemon_workspace_context(
            InProcessWorkspaceLoadTarget(origin), instance
        ) as context,
    ):
        yield context


def sensors_tick(workspace: WorkspaceProcessContext, moment: datetime) -> None:
    with freeze_time(moment):
        list(execute_sensor_iteration(workspace, LOG, None, None))


def test_ticks_that_raise_are_told_and_their_next_good_one_too(
    workspace: WorkspaceProcessContext,
    settings: Settings,
    pg: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    instance, now = workspace.instance, datetime.now(UTC)
    # As old as the template database they could be stale.
    pg.execute("UPDATE analytics_mv_refreshes SET started_at = now()")
    # The dead letters' sensor reads the warehouse only.
    monkeypatch.setenv("DATABASE_URL", AWAY)
    monkeypatch.setenv("CLICKHOUSE_PORT", "1")
    sensors_tick(workspace, now - timedelta(minutes=5))
    with http_receiver() as receiver:
        watched = settings.model_copy(
            update={
                "clickhouse_enabled": False,
                "streaming_enabled": False,
                "alert_webhook_url": SecretStr(receiver.url),
            }
        )
        tick(instance, watched)
        # It may pass by itself: nobody is told within the first minutes.
        assert told(receiver) == []
        pg.execute("UPDATE alerts SET next_send_at = next_send_at - interval '2 minutes'")
        tick(instance, watched)
        opened = sorted(told(receiver), key=lambda one: one[1])
        assert [(state, key) for state, key, _ in opened] == [("open", one) for one in SENSORS]
        assert "sensor cohort_changes_sensor could not be evaluated 5 min ago" in opened[0][2]
        assert "connection failed" in opened[0][2]

        monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
        monkeypatch.setenv("CLICKHOUSE_PORT", str(settings.clickhouse_port))
        monkeypatch.setenv("CLICKHOUSE_DATABASE", settings.clickhouse_database)
        # The alerts' own sensor is among them, and may tell the first one's end already.
        monkeypatch.setenv("ALERT_WEBHOOK_URL", receiver.url)
        sensors_tick(workspace, now)
        tick(instance, watched)
        ended = told(receiver)
    assert sorted((state, key) for state, key, _ in ended) == [("resolved", one) for one in SENSORS]


def test_a_schedule_whose_tick_raised_is_made_good_by_its_job(
    workspace: WorkspaceProcessContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance, now = workspace.instance, datetime.now(UTC)
    # Its ticks begin by reading the settings.
    monkeypatch.setenv("CLICKHOUSE_ENABLED", "perhaps")
    name = "retention_daily"
    jobs: dict[str, str | None] = {
        one.name: one.job_name for one in defs.get_repository_def().schedule_defs
    }
    for moment in (now - timedelta(hours=25), now):
        with freeze_time(moment):
            list(launch_scheduled_runs(workspace, LOG, moment, {}))
    found = {one.key: one.text for one in failed_ticks(instance, jobs, now)}
    assert "CLICKHOUSE_ENABLED" in found[f"tick/{name}"]

    @dg.job(name=jobs[name])
    def by_hand() -> None:
        pass

    assert by_hand.execute_in_process(instance=instance).success
    assert f"tick/{name}" not in {one.key for one in failed_ticks(instance, jobs, now)}


def test_a_stale_asset_is_named_with_its_age(workspace: WorkspaceProcessContext) -> None:
    instance, now = workspace.instance, datetime.now(UTC)
    made = dg.AssetKey("backups")
    instance.report_runless_asset_event(dg.AssetMaterialization(made))

    def judged(later: timedelta) -> list[str]:
        with freeze_time(now + later):
            list(FreshnessDaemon().run_iteration(workspace))
        return [one.text for one in stale_assets(instance, [made], now + later)]

    assert judged(timedelta(hours=48)) == []
    assert judged(timedelta(hours=50)) == ["asset backups is stale: it was last made 2 days ago"]
    instance.report_runless_asset_event(dg.AssetMaterialization(made))
    assert judged(timedelta(hours=1)) == []


def test_new_dead_letters_are_a_warning_and_many_an_error(ch: Client) -> None:
    sequences = itertools.count(1, 2 * MANY)

    def put(count: int, hours_ago: int, reason: str) -> None:
        ch.command(
            "INSERT INTO dead_letters (stream_seq, received_at, reason, stored_at)"
            " SELECT number, now64(3), {reason:String}, now64(3) - toIntervalHour({hours:UInt32})"
            " FROM numbers({first:UInt32}, {count:UInt32})",
            parameters={
                "first": next(sequences),
                "reason": reason,
                "hours": hours_ago,
                "count": count,
            },
        )

    assert list(new_letters(ch)) == []
    put(3, 2, "not_json")
    # Older ones wait for somebody who was told.
    assert list(new_letters(ch)) == []
    put(2, 0, "no_company")
    [found] = new_letters(ch)
    assert (found.key, found.severity, found.see) == ("letters/recent", "warning", "alert-letters")
    assert found.text.endswith("within the last hour: no_company 2; 5 wait for a decision")
    put(MANY, 0, "not_json")
    [found] = new_letters(ch)
    assert found.severity == "error"
    ch.command(
        "INSERT INTO dead_letter_decisions (received_at, stream_seq, state) "
        "SELECT received_at, stream_seq, 'discarded' FROM dead_letters"
    )
    assert list(new_letters(ch)) == []
