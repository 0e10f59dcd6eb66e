"""Real runs of the cohort job: rows, metadata, checks."""

from collections.abc import Iterator

import dagster as dg
import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from config import Settings
from pipelines.databases import Databases
from pipelines.defs.cohorts.assets import (
    COHORTS,
    PLATFORM_USER_COHORTS,
    USER_COHORTS,
    platform_user_cohorts,
    warehouse_cohorts,
)
from pipelines.defs.cohorts.checks import every_filter_is_valid, rows_match_postgres
from pipelines.defs.cohorts.partitions import NAME
from pipelines.defs.cohorts.repair import repair_parity_job
from pipelines.defs.cohorts.resync import RESYNCED_COMPANIES, resynced_companies
from pipelines.defs.cohorts.triggers import resync_companies_job, sync_cohorts_job
from tests.live.pipelines.population import (
    add_cohort,
    add_users,
    platform_state,
    warehouse_state,
)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def definitions(databases: Databases) -> dg.Definitions:
    return dg.Definitions(
        assets=[platform_user_cohorts, warehouse_cohorts, resynced_companies],
        asset_checks=[every_filter_is_valid, rows_match_postgres],
        jobs=[sync_cohorts_job, repair_parity_job, resync_companies_job],
        resources={"databases": databases},
        executor=dg.in_process_executor,
    )


def run(
    databases: Databases,
    run_config: dict[str, object] | None = None,
    *,
    job: str = sync_cohorts_job.name,
    instance: dg.DagsterInstance | None = None,
    tags: dict[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    return (
        definitions(databases)
        .resolve_job_def(job)
        .execute_in_process(run_config=run_config, instance=instance, tags=tags)
    )


def metadata(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict[str, object]:
    [event] = [
        event for event in result.get_asset_materialization_events() if event.asset_key == key
    ]
    return {name: entry.value for name, entry in event.materialization.metadata.items()}


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {
        f"{one.check_name} of {one.asset_key.to_user_string()}": one.passed
        for one in result.get_asset_check_evaluations()
    }


def test_one_run_evaluates_filters_syncs_and_checks(
    pg: psycopg.Connection, ch: Client, databases: Databases
) -> None:
    add_users(pg, "acme", 4, language="uk")
    add_users(pg, "acme", 2, language="de")
    add_cohort(pg, "acme", "c", {"language": "uk"})

    result = run(databases)

    assert len(warehouse_state(ch).members) == 4
    assert warehouse_state(ch) == platform_state(pg)
    evaluated = metadata(result, PLATFORM_USER_COHORTS)
    assert (evaluated["rows"], evaluated["added"], evaluated["removed"]) == (4, 4, 0)
    cohorts, members = metadata(result, COHORTS), metadata(result, USER_COHORTS)
    assert (cohorts["rows"], members["rows"]) == (1, 4)
    assert cohorts["all_rows_compared_because"] == "no watermark"
    assert '"snapshot": "' in str(cohorts["watermark"])
    assert float(str(members["duration_seconds"])) > 0
    assert checks(result) == {
        "every_filter_is_valid of platform/user_cohorts": True,
        "rows_match_postgres of cohorts": True,
        "rows_match_postgres of user_cohorts": True,
    }

    again = run(databases)
    assert metadata(again, COHORTS)["all_rows_compared_because"] == "not needed"
    assert metadata(again, USER_COHORTS)["rows"] == 0


def test_checks_fail_on_a_bad_filter_and_on_drift(
    pg: psycopg.Connection, ch: Client, databases: Databases
) -> None:
    add_users(pg, "acme", 4, language="uk")
    cohort = add_cohort(pg, "acme", "c", {"language": "uk"})
    add_cohort(pg, "acme", "bad", {"country": "ua"})
    run(databases)
    ch.command("DELETE FROM user_cohorts WHERE company_id = 'acme'")

    result = run(databases)

    assert result.success, "a failing check is a finding, not a failed run"
    assert checks(result) == {
        "every_filter_is_valid of platform/user_cohorts": False,
        "rows_match_postgres of cohorts": True,
        "rows_match_postgres of user_cohorts": False,
    }
    shown = {
        one.check_name: one.metadata
        for one in result.get_asset_check_evaluations()
        if not one.passed
    }
    errors = str(shown["every_filter_is_valid"]["errors"])
    assert "bad of acme" in errors
    assert "unknown filter key 'country'" in errors
    drift = {name: entry.value for name, entry in shown["rows_match_postgres"].items()}
    assert str(drift.pop("differences")).count(f"in cohort {cohort} is missing") == 4
    assert drift == {
        "companies": 1,
        "companies_differing": 1,
        "rows_compared": 4,
        "rows_differing": 4,
        "rows_missing": 4,
        "rows_extra": 0,
        "rows_changed": 0,
        "rows_pending": 0,
    }
    [said] = [
        one.description or ""
        for one in result.get_asset_check_evaluations()
        if one.check_name == "rows_match_postgres" and not one.passed
    ]
    assert said.startswith("rows that differ: 4; Postgres has 4. acme: user ")
    # The same figures as an observation are what the asset's page plots.
    assert observed(result, USER_COHORTS) == [4]
    assert observed(result, COHORTS) == [0]

    repaired = run(databases, {"ops": {"warehouse_cohorts": {"config": {"full": True}}}})
    assert metadata(repaired, USER_COHORTS)["written"] == 4
    assert checks(repaired)["rows_match_postgres of user_cohorts"]
    assert warehouse_state(ch) == platform_state(pg)


def observed(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> list[object]:
    """`rows_differing` of each of the asset's observations."""
    return [
        event.asset_observation_data.asset_observation.metadata["rows_differing"].value
        for event in result.all_events
        if event.is_asset_observation and event.asset_key == key
    ]


def test_a_repair_shows_the_rows_first_and_then_writes_them(
    pg: psycopg.Connection, ch: Client, databases: Databases
) -> None:
    for company in ("acme", "other"):
        add_users(pg, company, 2, language="uk")
        add_cohort(pg, company, "c", {"language": "uk"})
    run(databases)
    ch.command("DELETE FROM user_cohorts WHERE company_id = 'acme'")
    damaged = warehouse_state(ch)

    dry = run(databases, job=repair_parity_job.name)
    assert warehouse_state(ch) == damaged
    assert not dry.get_asset_materialization_events()
    assert observed(dry, USER_COHORTS) == [2]
    assert not checks(dry)["rows_match_postgres of user_cohorts"]

    done = run(
        databases,
        {"ops": {"repaired_cohort_rows": {"config": {"dry_run": False}}}},
        job=repair_parity_job.name,
    )
    assert warehouse_state(ch) == platform_state(pg)
    assert metadata(done, USER_COHORTS)["rows"] == 2
    assert COHORTS not in {event.asset_key for event in done.get_asset_materialization_events()}
    assert all(checks(done).values()), "the alert ends with the repair"


def test_companies_are_resynced_as_partitions(
    pg: psycopg.Connection, ch: Client, databases: Databases, instance: dg.DagsterInstance
) -> None:
    for company in ("acme", "other", "third"):
        add_cohort(pg, company, "c")
    run(databases, instance=instance)
    assert instance.get_dynamic_partitions(NAME) == ["acme", "other", "third"]
    ch.command("TRUNCATE TABLE cohorts")

    result = run(
        databases,
        job=resync_companies_job.name,
        instance=instance,
        # As a backfill starts a run for its next companies.
        tags={
            "dagster/asset_partition_range_start": "other",
            "dagster/asset_partition_range_end": "third",
        },
    )

    assert {row[1] for row in warehouse_state(ch).cohorts} == {"other", "third"}
    written = {
        event.partition: event.materialization.metadata["rows"].value
        for event in result.get_asset_materialization_events()
    }
    assert written == {"other": 1, "third": 1}
    assert instance.get_materialized_partitions(RESYNCED_COMPANIES) == {"other", "third"}


def test_a_company_without_cohorts_is_no_partition(
    pg: psycopg.Connection, databases: Databases, instance: dg.DagsterInstance
) -> None:
    for company in ("acme", "other"):
        add_cohort(pg, company, "c")
    run(databases, instance=instance)
    pg.execute("DELETE FROM cohorts WHERE company_id = 'acme'")
    run(databases, instance=instance)
    assert instance.get_dynamic_partitions(NAME) == ["other"]


def test_with_the_warehouse_switched_off_a_run_says_so(settings: Settings) -> None:
    off = Databases(lambda: settings.model_copy(update={"clickhouse_enabled": False}))
    with pytest.raises(RuntimeError, match="CLICKHOUSE_ENABLED is false"):
        run(off)
