"""The definitions load, say what they are, and read nothing from the environment while loading."""

import os
import subprocess
import sys
from datetime import UTC, datetime

import dagster as dg
import pytest

from config import SettingsError
from pipelines.databases import Databases
from pipelines.definitions import defs
from pipelines.defs.materialized_views.assets import VIEWS

ASSETS = {
    "platform/user_cohorts",
    "cohorts",
    "user_cohorts",
    "events",
    "company_dashboard_mv",
    "program_performance_mv",
    "language_group_performance_mv",
    "journey_stage_distribution_mv",
    "reconciliations",
    "metrics_timeseries",
    "retention_plan",
    "partition_actions",
    "erasures",
}


def made_here() -> list[dg.AssetSpec]:
    graph = defs.resolve_asset_graph()
    return [graph.get(key).to_asset_spec() for key in graph.materializable_asset_keys]


def test_every_asset_of_the_flows_is_defined() -> None:
    assert {spec.key.to_user_string() for spec in made_here()} == ASSETS


def test_the_definitions_are_loadable_as_a_whole() -> None:
    dg.Definitions.validate_loadable(defs)


@pytest.mark.parametrize(
    # In one order, so that parallel workers collect the same tests.
    "spec",
    sorted(made_here(), key=lambda spec: spec.key),
    ids=lambda spec: spec.key.to_user_string(),
)
def test_every_asset_explains_itself(spec: dg.AssetSpec) -> None:
    assert spec.description
    assert spec.group_name in {
        *("cohorts", "materialized_views", "partitions", "reconciliation", "retention"),
    }
    assert spec.owners
    assert spec.kinds
    assert list(spec.deps)


def test_schedules_and_sensors_run_unless_somebody_stops_them() -> None:
    assert {one.default_status for one in defs.schedules or ()} == {
        dg.DefaultScheduleStatus.RUNNING
    }
    assert {one.default_status for one in defs.sensors or ()} == {dg.DefaultSensorStatus.RUNNING}


def test_every_step_is_in_a_pool_so_that_runs_of_a_flow_never_overlap() -> None:
    pools = {
        job.name: set().union(*(node.definition.pools for node in job.nodes))
        for job in defs.get_repository_def().get_all_jobs()
        if not job.name.startswith("__")
    }
    assert pools == {
        "sync_cohorts": {"cohorts"},
        "refresh_materialized_views": {"materialized_views"},
        "take_stock_of_events": {"events_partitions"},
        "reconcile_events": {"reconciliation"},
        "repair_missing_events": {"reconciliation"},
        "rebuild_metrics": {"events_partitions"},
        "plan_retention": {"retention"},
        "retention": {"retention"},
        "erasure": {"retention"},
        "reapply_erasures": {"retention"},
    }


def test_the_views_are_refreshed_every_five_minutes() -> None:
    schedule = defs.resolve_schedule_def("refresh_materialized_views_every_five_minutes")
    assert schedule.cron_schedule == "*/5 * * * *"
    job = defs.resolve_job_def("refresh_materialized_views")
    assert {node.name for node in job.nodes} == set(VIEWS)


@pytest.mark.parametrize(
    ("at", "days"),
    [
        (datetime(2026, 3, 1, 0, 7, tzinfo=UTC), ["2026-02-28", "2026-03-01"]),
        (datetime(2026, 3, 1, 13, 7, tzinfo=UTC), ["2026-03-01"]),
    ],
)
def test_stock_is_taken_of_today_and_of_yesterday_once_it_is_closed(
    at: datetime, days: list[str]
) -> None:
    schedule = defs.resolve_schedule_def("take_stock_of_events_hourly")
    with dg.build_schedule_context(
        scheduled_execution_time=at, repository_def=defs.get_repository_def()
    ) as context:
        requests = schedule.evaluate_tick(context).run_requests or []
    assert [request.partition_key for request in requests] == days


def test_todays_partition_exists() -> None:
    events = defs.resolve_asset_graph().get(dg.AssetKey("events"))
    assert events.partitions_def is not None
    keys = events.partitions_def.get_partition_keys()
    assert keys[0] == "2025-01-01"
    assert keys[-1] == datetime.now(UTC).date().isoformat()


def test_loading_reads_no_setting() -> None:
    """Settings that nobody could use don't disturb loading; a run would name them."""
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": "nonsense",
        "CLICKHOUSE_PORT": "nonsense",
    }
    loaded = subprocess.run(
        [sys.executable, "-c", "import pipelines.definitions as d; print(len(d.defs.assets))"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(loaded.stdout) > 0


def test_a_bad_setting_is_named_when_a_connection_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLICKHOUSE_PORT", "nonsense")
    with pytest.raises(SettingsError, match="CLICKHOUSE_PORT"), Databases().postgres():
        pass
