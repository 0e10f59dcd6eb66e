"""The definitions load, say what they are, and need nothing of the environment for that."""

import os
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from config import SettingsError
from pipelines import runbook
from pipelines.databases import Databases
from pipelines.definitions import defs
from pipelines.defs.materialized_views.assets import VIEWS
from tests.unit.test_runbook import REPOSITORY, anchors

ASSETS = {
    "platform/user_cohorts",
    "cohorts",
    "user_cohorts",
    "resynced_companies",
    "events",
    "company_dashboard_mv",
    "program_performance_mv",
    "language_group_performance_mv",
    "journey_stage_distribution_mv",
    "reconciliations",
    "backups",
    "restore_drills",
    "restored_events",
    "metrics_timeseries",
    "retention_plan",
    "partition_actions",
    "erasures",
}


FLOWS = {
    "alerts",
    "backups",
    "cohorts",
    "dead_letters",
    "materialized_views",
    "partitions",
    "reconciliation",
    "retention",
    "warehouse",
}

# What a run finds out, kept as the history of its asset.
NO_TABLES = {"resynced_companies", "restore_drills", "restored_events", "retention_plan"}


def made_here() -> list[dg.AssetSpec]:
    graph = defs.resolve_asset_graph()
    return [graph.get(key).to_asset_spec() for key in sorted(graph.materializable_asset_keys)]


def test_every_asset_of_the_flows_is_defined() -> None:
    assert {spec.key.to_user_string() for spec in made_here()} == ASSETS


def test_the_definitions_are_loadable_as_a_whole() -> None:
    dg.Definitions.validate_loadable(defs)


def every_asset() -> list[dg.AssetSpec]:
    """Made here or elsewhere, in one order, so that parallel workers collect the same tests."""
    graph = defs.resolve_asset_graph()
    specs = [graph.get(key).to_asset_spec() for key in graph.get_all_asset_keys()]
    return sorted(specs, key=lambda spec: spec.key)


@pytest.mark.parametrize("spec", every_asset(), ids=lambda spec: spec.key.to_user_string())
def test_every_asset_explains_itself(spec: dg.AssetSpec) -> None:
    assert spec.description
    assert spec.group_name in FLOWS
    assert spec.owners
    assert spec.kinds
    if spec.key.path[-1] not in NO_TABLES and spec.kinds & {"postgres", "clickhouse"}:
        database, *_, table = str(spec.metadata["dagster/table_name"]).split(".")
        assert database in {"teei_platform", "teei_analytics"}
        assert table == spec.key.path[-1]


@pytest.mark.parametrize("spec", made_here(), ids=lambda spec: spec.key.to_user_string())
def test_what_is_made_here_says_where_to_read_when_it_fails(spec: dg.AssetSpec) -> None:
    shown = spec.metadata["when_it_fails"]
    assert isinstance(shown, dg.MarkdownMetadataValue)
    page, _, anchor = str(shown.value).partition("\n")[0].strip("`").partition("#")
    assert anchor in anchors(REPOSITORY / page)
    # Nothing that leads nowhere from Dagster's pages.
    assert "](" not in str(shown.value)


def test_a_section_ends_at_the_next_heading_of_its_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runbook, "DOCS", tmp_path)
    code = "```bash\n## no heading\n```\n\n### In it"
    text = f"# Page\n\n## One, two\n\nA [word](other.md#x).\n\n{code}\n\n## Next\n\nc\n"
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    assert runbook.read_section("page.md#one-two") == (
        f"`docs/page.md#one-two`\n\nA word (`docs/other.md#x`).\n\n{code}"
    )
    with pytest.raises(ValueError, match=r"docs/page\.md has no section three"):
        runbook.read_section("page.md#three")


def test_paragraphs_are_as_wide_as_dagster_shows_and_nothing_else_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runbook, "DOCS", tmp_path)
    code, words = f"```bash\n{'x ' * 60}\n\n{'y ' * 60}\n```", "some words " * 30
    text = f"# Page\n\n{words}\n\n{code}\n\n{words}"
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    _, before, *fence, after = runbook.read_section("page.md#page").split("\n\n")
    assert "\n\n".join(fence) == code
    for paragraph in (before, after):
        assert paragraph.split() == words.split()
        assert max(map(len, paragraph.splitlines())) <= runbook.SHOWN_COLUMNS


def test_the_package_carries_the_pages_that_dagster_shows(tmp_path: Path) -> None:
    # Without them the definitions would not load in the image.
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    [wheel] = tmp_path.iterdir()
    shown = [str(spec.metadata["when_it_fails"].value) for spec in made_here()]
    with zipfile.ZipFile(wheel) as file:
        assert {text.partition("#")[0].strip("`") for text in shown} <= set(file.namelist())


def test_what_is_made_here_has_something_it_is_made_from() -> None:
    assert all(list(spec.deps) for spec in made_here())


def test_schedules_and_sensors_run_unless_somebody_stops_them() -> None:
    # Of the repository, so that sensors which Dagster adds by itself are among them.
    repository = defs.get_repository_def()
    stopped = [
        one.name
        for one in repository.sensor_defs
        if one.default_status is not dg.DefaultSensorStatus.RUNNING
    ]
    stopped += [
        one.name
        for one in repository.schedule_defs
        if one.default_status is not dg.DefaultScheduleStatus.RUNNING
    ]
    assert not stopped
    assert all(one.description for one in repository.sensor_defs)
    assert all(one.description for one in repository.schedule_defs)


def test_every_job_and_every_field_of_its_config_is_described() -> None:
    undescribed = []
    for job in defs.get_repository_def().get_all_jobs():
        if job.name.startswith("__"):
            continue
        if not job.description:
            undescribed.append(job.name)
        for node in job.nodes:
            schema = node.definition.config_schema
            fields = getattr(schema.config_type, "fields", {}) if schema else {}
            undescribed += [
                f"{job.name}: {node.name}.{name}"
                for name, field in fields.items()
                if not field.description
            ]
    assert not undescribed


def test_what_an_operator_starts_by_hand_has_a_job() -> None:
    jobs = {job.name: job for job in defs.get_repository_def().get_all_jobs()}
    assert {
        "refresh_materialized_views",
        "evaluate_memberships",
        "resync_companies",
        "repair_cohort_parity",
        "reconcile_events",
        "repair_missing_events",
        "take_stock_of_events",
        "purge_old_runs",
        "restore_events",
    } <= set(jobs)
    # What they are for stands in their config already, so that launching them as they are is right.
    hours = jobs["repair_missing_events"].partitioned_config
    assert hours is not None
    assert hours.get_run_config_for_partition_key("2026-01-01-00:00") == {
        "ops": {"reconciliations": {"config": {"repair": True}}}
    }
    assert jobs["resync_companies"].partitions_def is not None


def test_every_step_is_in_a_pool_so_that_runs_of_a_flow_never_overlap() -> None:
    pools = {
        job.name: set().union(*(node.definition.pools for node in job.nodes))
        for job in defs.get_repository_def().get_all_jobs()
        if not job.name.startswith("__")
    }
    assert pools == {
        "sync_cohorts": {"cohorts"},
        "evaluate_memberships": {"cohorts"},
        "resync_companies": {"cohorts"},
        "repair_cohort_parity": {"cohorts"},
        "purge_old_runs": {"instance"},
        "refresh_materialized_views": {"materialized_views"},
        "take_stock_of_events": {"events_partitions"},
        "reconcile_events": {"reconciliation"},
        "repair_missing_events": {"reconciliation"},
        "back_up_incremental": {"backups"},
        "back_up_full": {"backups"},
        "drill_restore": {"backups"},
        "restore_events": {"backups"},
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


def test_loading_needs_no_setting() -> None:
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
