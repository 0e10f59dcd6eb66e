"""The flow as Dagster runs it, and the command line."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from cli.__main__ import app
from cli.refusal import Refused
from pipelines.databases import Databases
from pipelines.defs.backups import catalogue
from pipelines.defs.backups.assets import CHECK
from pipelines.defs.backups.definitions import flow
from pipelines.defs.backups.record import Kind
from pipelines.defs.backups.restored_events import RESTORED_EVENTS
from tests.live.backups.conftest import DAY, NOW, World
from tests.live.backups.test_backup import damage


def run(
    world: World, job: str, instance: dg.DagsterInstance, **options: Any
) -> dg.ExecuteInProcessResult:
    databases = Databases(lambda: world.settings)
    whole = dg.Definitions.merge(flow, dg.Definitions(resources={"databases": databases}))
    return whole.resolve_job_def(job).execute_in_process(
        instance=instance, raise_on_error=False, **options
    )


def test_jobs_take_and_prove_and_a_damaged_backup_fails_the_drill(world: World) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        # Nothing to go by yet: the night's job makes a full one.
        assert run(world, "back_up_incremental", instance).success
        assert run(world, "back_up_full", instance).success
        taken = instance.get_latest_materialization_event(dg.AssetKey("backups"))
        assert taken is not None
        assert taken.asset_materialization is not None
        metadata = taken.asset_materialization.metadata
        assert metadata["kind"].value == "full"
        assert "clickhouse events | 5000 |" in str(metadata["tables"].value)
        drilled = run(world, "drill_restore", instance)
        assert drilled.success
        [check] = drilled.get_asset_check_evaluations()
        assert check.passed
        assert check.blocking
        assert isinstance(check.metadata["rto_seconds"].value, float)
        [first, newest] = catalogue.read(world.pg)
        assert (first.kind, newest.kind) == ("full", "full")
        damage(world.files(newest, "events/*/data.bin")[0])
        failed = run(world, "drill_restore", instance)
        [check] = failed.get_asset_check_evaluations()
        assert not failed.success
        assert (check.check_name, check.passed) == (CHECK, False)
        assert "events: part" in (check.description or "")
        # An operator finds the reason in the catalogue as well.
        assert catalogue.read(world.pg)[-1].drill is not None


def test_lost_days_come_back_from_the_newest_backup_that_has_them(world: World) -> None:
    older = world.take(Kind.FULL)
    world.publish(date(2026, 11, 1), range(5000, 5100))
    world.ch.command("ALTER TABLE events DROP PARTITION ID '20261030'")
    # The loss is in the next backup as well; another day is lost after it.
    newer = world.take(at=NOW + DAY)
    world.ch.command("ALTER TABLE events DROP PARTITION ID '20261101'")
    world.publish(date(2026, 10, 31), range(9000, 9010))
    lost = world.events()
    days = {
        "dagster/asset_partition_range_start": "2026-10-30",
        "dagster/asset_partition_range_end": "2026-11-01",
    }

    def config(**values: object) -> dict[str, Any]:
        return {"ops": {"restored_events": {"config": values}}}

    with dg.DagsterInstance.ephemeral() as instance:
        assert run(world, "restore_events", instance, tags=days).success
        assert world.events() == lost == {"2026-10-31": 2010}
        assert instance.get_latest_materialization_event(RESTORED_EVENTS) is None
        [*shown] = instance.fetch_observations(RESTORED_EVENTS, limit=5).records
        plans = {
            one.partition_key: str(one.asset_observation.metadata["plan"].value)
            for one in shown
            if one.asset_observation
        }
        assert f"backup     {older.backup_id}" in plans["2026-10-30"]
        assert "the days 2026-10-31, 2026-11-01: 2100 rows" in plans["2026-11-01"]

        refused = run(
            world,
            "restore_events",
            instance,
            tags=days,
            run_config=config(dry_run=False, backup_id=newer.backup_id),
        )
        assert not refused.success
        assert world.events() == lost

        done = run(world, "restore_events", instance, tags=days, run_config=config(dry_run=False))
        assert done.success
        made = {
            one.partition: {
                name: value.value for name, value in one.materialization.metadata.items()
            }
            for one in done.get_asset_materialization_events()
        }
    assert world.events() == {"2026-10-30": 3000, "2026-10-31": 2010, "2026-11-01": 100}
    assert made["2026-10-30"]["backup_id"] == older.backup_id
    assert made["2026-11-01"]["backup_id"] == newer.backup_id
    assert made["2026-10-31"]["rows_in_backup"] == 2000
    assert made["2026-10-31"]["dagster/partition_row_count"] == 2010


def test_the_command_line_takes_lists_plans_and_restores(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = world.settings
    for name, value in {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "CLICKHOUSE_HOST": settings.clickhouse_host,
        "CLICKHOUSE_PORT": str(settings.clickhouse_port),
        "CLICKHOUSE_DATABASE": settings.clickhouse_database,
    }.items():
        monkeypatch.setenv(name, value)
    runner = CliRunner()

    def analytics(*arguments: str) -> str:
        result = runner.invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    taken = json.loads(analytics("backup", "--full", "--json"))
    assert taken["clickhouse"]["events"]["rows"] == 5000
    names, row = analytics("backups").splitlines()
    assert names.split() == ["STARTED", "(UTC)", "STATE", "SIZE", "DRILL", "BACKUP", "ERROR"]
    assert "  complete  " in row
    assert row.endswith(taken["id"])
    assert analytics("backups", "list").splitlines() == [names, row]
    [listed] = json.loads(analytics("backups", "--json"))["backups"]
    assert (listed["id"], listed["state"]) == (taken["id"], "complete")
    assert "restored whole" in analytics("backups", "drill")
    assert analytics("backups", "prune") == "nothing to remove\n"
    world.ch.command("ALTER TABLE events DROP PARTITION ID '20261030'")
    shown = analytics("restore", "--day", "2026-10-30", "--dry-run")
    assert "the days 2026-10-30: 3000 rows" in shown
    assert "proven by the drill" in shown
    refused = pytest.raises(Refused, match="nothing was done")
    with refused:
        runner.invoke(app, ["restore"], input="n\n", catch_exceptions=False)
    done = json.loads(analytics("restore", "--day", "2026-10-30", "--yes", "--json"))
    assert done["rows"] == 3000
    assert world.events() == {"2026-10-30": 3000, "2026-10-31": 2000}
    with pytest.raises(Refused, match="has no events of 2026-12-25"):
        runner.invoke(app, ["restore", "--day", str(date(2026, 12, 25))], catch_exceptions=False)
