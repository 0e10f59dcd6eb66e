"""Retention on real databases: what is planned is done, and what is kept by anybody stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from config import Settings
from events import rows
from events.accept import Event, accept
from pipelines.databases import Databases
from pipelines.defs.partitions.assets import metrics_timeseries
from pipelines.defs.partitions.rebuild import rebuild_metrics_day
from pipelines.defs.partitions.stock import read_partitions
from pipelines.defs.partitions.strays import find_detached
from pipelines.defs.retention.apply import apply_retention
from pipelines.defs.retention.checks import no_table_deletes_by_itself
from pipelines.defs.retention.plan import Plan, plan_retention
from pipelines.defs.retention.policies import (
    PolicyError,
    follow_settings,
    read_policies,
)
from tests.live.pipelines.population import set_company_policy

# Before the server's own log of queries begins, so that its partitions are in no plan here.
NOW = datetime(2026, 3, 17, 2, 35, tzinfo=UTC)


def store(ch: Client, day: date, companies: str, *, period: date | None = None) -> None:
    """One metric event a company, as the sink writes it."""
    ms = int(datetime.combine(day, datetime.min.time(), UTC).timestamp() * 1000)
    stored = []
    for seq, company in enumerate(companies, 1):
        raw = (
            f'{{"companyId":"{company}","metricName":"m","value":{seq},"userId":"u{seq}"'
            f',"periodStart":"{period or day}"}}'
        )
        event = accept("metrics.x", seq, ms, raw.encode())
        assert isinstance(event, Event)
        stored.append(event)
    for table, block in (
        ("events", rows.encode_events(stored)),
        ("metrics_timeseries", rows.encode_metrics(stored)),
    ):
        ch.raw_insert(table, insert_block=block, fmt="JSONEachRow", settings=rows.INSERT_SETTINGS)


def days_back(days: int) -> date:
    return NOW.date() - timedelta(days=days)


def kept(ch: Client, table: str = "events", column: str = "received_at") -> dict[str, set[date]]:
    """Company → days that it has rows of."""
    found = ch.query(
        f"SELECT company_id, groupUniqArray(toDate({column})) FROM {table} GROUP BY company_id"
    ).result_rows
    return {company: set(days) for company, days in found}


def steps(plan: Plan, name: str = "events") -> list[tuple[str, str, tuple[str, ...], int]]:
    return [
        (one.action, one.partition_id, one.companies, one.rows)
        for one in plan.steps
        if one.name == name
    ]


@pytest.fixture
def policies(pg: psycopg.Connection, settings: Settings) -> None:
    follow_settings(pg, settings)


@pytest.mark.usefixtures("policies")
def test_a_partition_goes_when_nobody_keeps_it_and_till_then_row_by_row(
    pg: psycopg.Connection, pipeline_ch: Client
) -> None:
    for back in (10, 31, 90, 91, 120, 121):
        store(pipeline_ch, days_back(back), "abc")
    set_company_policy(pg, "events", "a", 30, "asked for by a")
    set_company_policy(pg, "events", "b", 120)
    plan = plan_retention(pg, pipeline_ch, NOW)

    def day(back: int) -> str:
        return f"{days_back(back):%Y%m%d}"

    assert steps(plan) == [
        ("drop", day(121), (), 3),
        ("delete", day(120), ("a", "b"), 1),
        ("delete", day(120), ("a",), 1),
        ("delete", day(91), ("a", "b"), 1),
        ("delete", day(91), ("a",), 1),
        ("delete", day(90), ("a",), 1),
        ("delete", day(31), ("a",), 1),
    ]
    assert plan.figures["rows"] == 3 + 2 + 2 + 1 + 1
    assert plan.figures["bytes"] > 0
    before = kept(pipeline_ch)
    assert before["a"] == {days_back(n) for n in (10, 31, 90, 91, 120, 121)}, (
        "planning changed data"
    )

    done = apply_retention(pg, pipeline_ch, plan, NOW, run_id="run-1")
    assert {one.outcome for one in done} == {"done"}
    assert kept(pipeline_ch) == {
        "a": {days_back(10)},
        "b": {days_back(n) for n in (10, 31, 90, 91, 120)},
        "c": {days_back(n) for n in (10, 31, 90)},
    }
    # Rows of all of them are younger than two years.
    assert len(kept(pipeline_ch, "metrics_timeseries", "timestamp")["a"]) == 6
    history = pg.execute(
        'SELECT action, outcome, partition_id, "rows" FROM partition_actions'
        " WHERE run_id = 'run-1' AND decided_for = %s ORDER BY action_id",
        (NOW,),
    ).fetchall()
    assert history[0] == ("drop", "done", day(121), 3)
    assert sum(row[3] for row in history) == plan.figures["rows"]
    assert not plan_retention(pg, pipeline_ch, NOW).steps, "twice is once"


@pytest.mark.usefixtures("policies")
def test_aggregates_go_by_months_and_dead_letters_by_days(
    pg: psycopg.Connection, pipeline_ch: Client
) -> None:
    for period in (date(2024, 2, 29), date(2024, 3, 1), date(2024, 4, 1)):
        store(pipeline_ch, days_back(1), "a", period=period)
    # Two years and 17 days back is the 17th of March 2024: its month is not over.
    letters = [(1, days_back(30)), (2, days_back(31)), (3, days_back(80))]
    pipeline_ch.insert(
        "dead_letters",
        [[f"x-{seq}-1", "x", seq, datetime.combine(day, datetime.min.time()), None, "not_json"]
         for seq, day in letters],
        ["dead_letter_id", "subject", "stream_seq", "received_at", "company_id", "reason"],
    )  # fmt: skip
    pipeline_ch.command(
        "INSERT INTO dead_letter_decisions (dead_letter_id, received_at, stream_seq, state)"
        " SELECT dead_letter_id, received_at, stream_seq, 'discarded' FROM dead_letters"
    )
    apply_retention(pg, pipeline_ch, plan_retention(pg, pipeline_ch, NOW), NOW)
    periods = pipeline_ch.query("SELECT DISTINCT period_start FROM metrics_timeseries ORDER BY 1")
    assert [row[0] for row in periods.result_rows] == [date(2024, 3, 1), date(2024, 4, 1)]
    for table in ("dead_letters", "dead_letter_decisions"):
        left = pipeline_ch.query(f"SELECT stream_seq FROM {table}").result_rows
        assert left == [(1,)], table


@pytest.mark.usefixtures("policies")
def test_what_is_kept_meanwhile_or_named_by_nobody_is_refused(
    pg: psycopg.Connection, pipeline_ch: Client
) -> None:
    store(pipeline_ch, days_back(100), "ab")
    plan = plan_retention(pg, pipeline_ch, NOW)
    assert steps(plan)[0][0] == "drop"
    set_company_policy(pg, "events", "a", 365)
    other = replace(plan.steps[0], name="companies", database="system")
    wrong = replace(plan.steps[0], dataset="aggregates")
    forged = replace(plan, steps=(*plan.steps, other, wrong))
    done = apply_retention(pg, pipeline_ch, forged, NOW)
    assert [one.outcome for one in done] == ["refused", "refused", "refused"]
    assert kept(pipeline_ch) == {"a": {days_back(100)}, "b": {days_back(100)}}
    # A new plan takes b's rows alone.
    apply_retention(pg, pipeline_ch, plan_retention(pg, pipeline_ch, NOW), NOW)
    assert kept(pipeline_ch) == {"a": {days_back(100)}}
    refused = pg.execute(
        "SELECT reason FROM partition_actions WHERE outcome = 'refused' ORDER BY action_id"
    ).fetchall()
    assert refused[0] == ("not due any more",)
    pg.execute("DELETE FROM retention_policies WHERE company_id IS NULL")
    done = apply_retention(pg, pipeline_ch, plan, NOW)
    assert {(one.outcome, one.reason) for one in done} == {
        ("refused", "retention_policies has no default for events")
    }
    with pytest.raises(PolicyError):
        plan_retention(pg, pipeline_ch, NOW)


def test_defaults_follow_the_settings_and_companies_stay(
    pg: psycopg.Connection, settings: Settings
) -> None:
    assert len(follow_settings(pg, settings)) == 5
    set_company_policy(pg, "events", "a", 7)
    changed = settings.model_copy(
        update={"retention_events_days": 10, "retention_replay_hours": 37}
    )
    assert follow_settings(pg, changed) == ["events", "replay"]
    assert follow_settings(pg, changed) == []
    now = read_policies(pg)
    assert (now.of("events").days, dict(now.of("events").companies)) == (10, {"a": 7})
    assert now.replay_hours == 37
    for dataset, days in (("replay", 1), ("events", 0), ("nothing", 5)):
        with pytest.raises(psycopg.errors.CheckViolation):
            set_company_policy(pg, dataset, "a", days)


@pytest.mark.usefixtures("policies")
def test_a_closed_day_in_many_parts_is_merged_and_an_open_one_is_left(
    pg: psycopg.Connection, pipeline_ch: Client
) -> None:
    pipeline_ch.command("SYSTEM STOP MERGES events")
    for _ in range(10):
        store(pipeline_ch, days_back(1), "ab")
        store(pipeline_ch, days_back(0), "a")
    plan = plan_retention(pg, pipeline_ch, NOW)
    assert [one[:2] for one in steps(plan)] == [("optimize", f"{days_back(1):%Y%m%d}")]
    pipeline_ch.command("SYSTEM START MERGES events")
    apply_retention(pg, pipeline_ch, plan, NOW)
    parts = {
        one.partition_id: one.parts
        for one in read_partitions(pipeline_ch)
        if one.table.name == "events"
    }
    assert parts[f"{days_back(1):%Y%m%d}"] == 1
    assert sorted(kept(pipeline_ch)) == ["a", "b"]


@pytest.mark.usefixtures("policies")
def test_strays_and_detached_parts_are_named_and_left(
    pg: psycopg.Connection, pipeline_ch: Client, databases: Databases
) -> None:
    store(pipeline_ch, days_back(-3), "a")
    store(pipeline_ch, days_back(2), "a")
    pipeline_ch.command(f"ALTER TABLE events DETACH PARTITION ID '{days_back(2):%Y%m%d}'")
    plan = plan_retention(pg, pipeline_ch, NOW)
    own = [note for note in plan.notes if note.startswith("events ")]
    assert own[0].startswith(f"events {days_back(-3):%Y%m%d}: in the future")
    assert f"events {days_back(2):%Y%m%d}" in own[1]
    assert "detached" in own[1]
    assert len(find_detached(pipeline_ch)) == 1
    assert not steps(plan)
    assert no_table_deletes_by_itself(databases).passed
    pipeline_ch.command("ALTER TABLE events MODIFY TTL toDateTime(received_at) + INTERVAL 9 YEAR")
    judged = no_table_deletes_by_itself(databases)
    assert not judged.passed
    assert "events" in (judged.description or "")


def test_metric_rows_are_made_again_from_the_days_events(
    pipeline_ch: Client, databases: Databases
) -> None:
    for back in (1, 2, 3):
        store(pipeline_ch, days_back(back), "abc")
    everything = "SELECT * FROM metrics_timeseries ORDER BY ALL"
    before = pipeline_ch.query(everything).result_rows
    pipeline_ch.command("DELETE FROM metrics_timeseries WHERE company_id IN ('a', 'b')")
    # A row whose event is over stays as it is.
    pipeline_ch.command(f"DELETE FROM events WHERE toDate(received_at) = '{days_back(3)}'")
    result = dg.materialize(
        [metrics_timeseries],
        resources={"databases": databases},
        selection=[metrics_timeseries],
        tags={
            "dagster/asset_partition_range_start": days_back(3).isoformat(),
            "dagster/asset_partition_range_end": days_back(1).isoformat(),
        },
    )
    assert result.success
    lost = [row for row in before if row[0] in "ab" and row[4].date() == days_back(3)]
    assert pipeline_ch.query(everything).result_rows == [row for row in before if row not in lost]
    again = rebuild_metrics_day(pipeline_ch, days_back(1))
    assert (again.events, again.written, again.present, again.doubled) == (3, 3, 3, 0)
    assert pipeline_ch.query(everything).result_rows == [row for row in before if row not in lost]
