"""Real runs of the cohort job: rows, metadata, checks."""

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
from pipelines.defs.cohorts.checks import company_counts_match, every_filter_is_valid
from pipelines.defs.cohorts.triggers import sync_cohorts_job
from tests.live.pipelines.population import (
    add_cohort,
    add_users,
    platform_state,
    warehouse_state,
)


def run(
    databases: Databases, run_config: dict[str, object] | None = None, *, must_succeed: bool = True
) -> dg.ExecuteInProcessResult:
    job = dg.Definitions(
        assets=[platform_user_cohorts, warehouse_cohorts],
        asset_checks=[every_filter_is_valid, company_counts_match],
        jobs=[sync_cohorts_job],
        resources={"databases": databases},
        executor=dg.in_process_executor,
    ).resolve_job_def(sync_cohorts_job.name)
    return job.execute_in_process(run_config=run_config, raise_on_error=must_succeed)


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
        "company_counts_match of cohorts": True,
        "company_counts_match of user_cohorts": True,
    }

    again = run(databases)
    assert metadata(again, COHORTS)["all_rows_compared_because"] == "not needed"
    assert metadata(again, USER_COHORTS)["rows"] == 0


def test_checks_fail_on_a_bad_filter_and_on_drift_and_a_full_sync_repairs_it(
    pg: psycopg.Connection, ch: Client, databases: Databases
) -> None:
    add_users(pg, "acme", 4, language="uk")
    add_cohort(pg, "acme", "c", {"language": "uk"})
    add_cohort(pg, "acme", "bad", {"country": "ua"})
    run(databases)
    ch.command("DELETE FROM user_cohorts WHERE company_id = 'acme'")

    result = run(databases)

    assert result.success, "a failing check is a finding, not a failed run"
    assert checks(result) == {
        "every_filter_is_valid of platform/user_cohorts": False,
        "company_counts_match of cohorts": True,
        "company_counts_match of user_cohorts": False,
    }
    shown = {
        one.check_name: str(one.metadata["errors" if "filter" in one.check_name else "differences"])
        for one in result.get_asset_check_evaluations()
        if not one.passed
    }
    assert "bad of acme" in shown["every_filter_is_valid"]
    assert "unknown filter key 'country'" in shown["every_filter_is_valid"]
    assert "acme: 4 in Postgres, 0 here" in shown["company_counts_match"]

    repaired = run(databases, {"ops": {"warehouse_cohorts": {"config": {"full": True}}}})
    assert metadata(repaired, USER_COHORTS)["written"] == 4
    assert checks(repaired)["company_counts_match of user_cohorts"]
    assert warehouse_state(ch) == platform_state(pg)


def test_one_company_can_be_resynced_alone(
    pg: psycopg.Connection, ch: Client, databases: Databases
) -> None:
    for company in ("acme", "other"):
        add_cohort(pg, company, "c")
    run(databases)
    ch.command("TRUNCATE TABLE cohorts")
    run(databases, {"ops": {"warehouse_cohorts": {"config": {"companies": ["other"]}}}})
    assert [row[1] for row in warehouse_state(ch).cohorts] == ["other"]


def test_with_the_warehouse_switched_off_a_run_says_so(settings: Settings) -> None:
    off = Databases(lambda: settings.model_copy(update={"clickhouse_enabled": False}))
    with pytest.raises(RuntimeError, match="CLICKHOUSE_ENABLED is false"):
        run(off)
