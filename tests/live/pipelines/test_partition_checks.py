"""The checks on partitions, on real parts; and the engine's own logs, which are retained too."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from config import Settings
from pipelines.databases import Databases
from pipelines.defs.partitions.checks import checks
from pipelines.defs.partitions.parts import MERGE_ABOVE_PARTS
from pipelines.defs.retention.apply import apply_retention
from pipelines.defs.retention.plan import plan_retention
from pipelines.defs.retention.policies import follow_settings
from tests.live.pipelines.test_events_partitions import publish

CHECKS = {
    f"{key.asset_key.to_user_string()}.{key.name}": check
    for check in checks
    for key in check.check_keys
}


def evaluate(databases: Databases, name: str) -> tuple[bool, dg.AssetCheckSeverity, str]:
    result = CHECKS[name](databases)
    assert isinstance(result, dg.AssetCheckResult)
    return result.passed, result.severity, result.description or ""


def test_a_closed_day_in_many_parts_is_a_warning_until_it_is_merged(
    ch: Client, pg: psycopg.Connection, databases: Databases, settings: Settings
) -> None:
    now = datetime.now(UTC)
    day = now.date() - timedelta(days=2)
    ch.command("SYSTEM STOP MERGES events")
    # A part a row.
    ch.command(
        "INSERT INTO events SELECT concat('x-', toString(number), '-1'), 'x', 'acme', NULL,"
        " {day:Date}, {day:Date}, number, '{}' FROM numbers({rows:UInt32})"
        " SETTINGS max_block_size = 1, min_insert_block_size_rows = 1",
        parameters={"day": day, "rows": MERGE_ABOVE_PARTS + 1},
    )
    crowded = "events.no_partition_is_crowded"
    assert evaluate(databases, crowded) == (
        *(False, dg.AssetCheckSeverity.WARN),
        f"events {day:%Y%m%d}: closed with {MERGE_ABOVE_PARTS + 1} parts, the daily run merges it",
    )
    assert evaluate(databases, "metrics_timeseries.no_partition_is_crowded")[0]
    ch.command("SYSTEM START MERGES events")
    follow_settings(pg, settings)
    with databases.clickhouse() as client:
        apply_retention(pg, client, plan_retention(pg, client, now), now)
    assert evaluate(databases, crowded)[0]


def test_a_day_of_the_future_and_a_detached_part_are_an_error(
    ch: Client, databases: Databases
) -> None:
    stray = "events.no_partition_is_stray"
    publish(ch, datetime.now(UTC).date(), [1])
    assert evaluate(databases, stray)[0]
    publish(ch, date(2090, 1, 1), [2, 3])
    publish(ch, date(2026, 3, 1), [4])
    ch.command("ALTER TABLE events DETACH PARTITION ID '20260301'")
    passed, severity, said = evaluate(databases, stray)
    assert (passed, severity) == (False, dg.AssetCheckSeverity.ERROR)
    future, detached = said.split("; ")
    assert future == "events 20900101: in the future, 2 rows"
    assert detached.startswith("events 20260301_")
    assert "detached" in detached
    # The other table's check does not speak of it.
    assert evaluate(databases, "metrics_timeseries.no_partition_is_stray")[0]


@pytest.mark.parametrize(
    ("log", "ours"),
    [
        ("query_log", "current_database = currentDatabase() AND query LIKE 'INSERT%'"),
        ("part_log", "database = currentDatabase() AND event_type = 'NewPart'"),
    ],
)
def test_the_engines_logs_go_by_their_policy(
    pg: psycopg.Connection,
    ch: Client,
    databases: Databases,
    settings: Settings,
    log: str,
    ours: str,
) -> None:
    def logged() -> int:
        return int(ch.query(f"SELECT count() FROM system.{log} WHERE {ours}").result_rows[0][0])

    follow_settings(pg, settings)
    publish(ch, date(2026, 3, 1), [1])
    ch.command("SYSTEM FLUSH LOGS")
    assert logged() > 0
    kept_days = settings.retention_query_log_days
    with databases.clickhouse() as client:
        for days, due in ((kept_days, False), (kept_days + 1, True)):
            # Somebody's midnight may pass meanwhile: both moments are of one clock.
            now = datetime.now(UTC) + timedelta(days=days)
            plan = plan_retention(pg, client, now)
            own = tuple(one for one in plan.steps if one.name == log and one.action == "drop")
            assert bool(own) is due
        [done, *_] = apply_retention(pg, client, replace(plan, steps=own), now)
    assert (done.outcome, done.dataset, done.action) == ("done", "query_log", "drop")
    assert logged() == 0
