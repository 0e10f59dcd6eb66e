"""The sensor starts a run for a change, none without, and none beside another."""

import time
from collections.abc import Iterator

import dagster as dg
import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from config import Settings
from pipelines.databases import Databases
from pipelines.definitions import defs
from pipelines.defs.cohorts.membership import evaluate_memberships
from pipelines.defs.cohorts.sync import sync_cohorts
from pipelines.defs.cohorts.triggers import HEAD_TAG, RETRY_SECONDS, cohort_changes_sensor
from tests.live.pipelines.population import add_cohort, add_users


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(instance: dg.DagsterInstance, databases: Databases) -> dg.RunRequest | str:
    """The run that the sensor asks for, or why it asks for none."""
    context = dg.build_sensor_context(instance=instance, resources={"databases": databases})
    answer = cohort_changes_sensor(context)
    if isinstance(answer, dg.RunRequest):
        return answer
    assert isinstance(answer, dg.SkipReason)
    return str(answer.skip_message)


def start_run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    return instance.create_run_for_job(defs.resolve_job_def("sync_cohorts"), status=status)


@pytest.fixture
def done(pg: psycopg.Connection, pipeline_pg: psycopg.Connection, pipeline_ch: Client) -> None:
    """What a run does, once."""
    evaluate_memberships(pipeline_pg)
    sync_cohorts(pipeline_pg, pipeline_ch)


def test_a_fresh_system_asks_for_its_first_sync(
    instance: dg.DagsterInstance, databases: Databases
) -> None:
    assert isinstance(tick(instance, databases), dg.RunRequest)


@pytest.mark.usefixtures("done")
def test_without_changes_no_run_is_started(
    pg: psycopg.Connection, instance: dg.DagsterInstance, databases: Databases
) -> None:
    assert tick(instance, databases) == "no changes since the last sync"
    with pg.transaction(force_rollback=True):
        add_cohort(pg, "acme", "c")
    assert tick(instance, databases) == "no changes since the last sync"


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize("what", ["a user", "a cohort"])
def test_a_change_starts_one_run_until_it_is_synced(
    what: str,
    pg: psycopg.Connection,
    pipeline_ch: Client,
    instance: dg.DagsterInstance,
    databases: Databases,
) -> None:
    if what == "a user":
        add_users(pg, "acme", language="uk")
    else:
        add_cohort(pg, "acme", "c", {"language": "uk"})
    request = tick(instance, databases)
    assert isinstance(request, dg.RunRequest)
    [(head,)] = pg.execute("SELECT max(change_id) FROM cohort_changes").fetchall()
    assert request.tags[HEAD_TAG] == str(head)
    # The comparison of all rows is the schedule's: it would double what a single change waits.
    assert [key.name for key in request.asset_check_keys or []] == ["every_filter_is_valid"]
    evaluate_memberships(pg)
    sync_cohorts(pg, pipeline_ch)
    assert tick(instance, databases) == "no changes since the last sync"


@pytest.mark.usefixtures("done")
def test_the_evaluators_own_rows_are_a_change_for_the_sync_only(
    pg: psycopg.Connection,
    pipeline_ch: Client,
    instance: dg.DagsterInstance,
    databases: Databases,
) -> None:
    add_users(pg, "acme", language="uk")
    add_cohort(pg, "acme", "c", {"language": "uk"})
    sync_cohorts(pg, pipeline_ch)
    assert isinstance(tick(instance, databases), dg.RunRequest), "for the evaluator"
    evaluate_memberships(pg)
    assert isinstance(tick(instance, databases), dg.RunRequest), "for the sync"
    sync_cohorts(pg, pipeline_ch)
    assert tick(instance, databases) == "no changes since the last sync"


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTED"])
def test_no_run_is_started_beside_another(
    status: str, pg: psycopg.Connection, instance: dg.DagsterInstance, databases: Databases
) -> None:
    add_cohort(pg, "acme", "c")
    run = start_run(instance, dg.DagsterRunStatus[status])
    assert tick(instance, databases) == f"run {run.run_id} is under way"


@pytest.mark.usefixtures("done")
def test_a_failed_run_is_repeated_after_a_pause(
    pg: psycopg.Connection,
    instance: dg.DagsterInstance,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_cohort(pg, "acme", "c")
    run = start_run(instance, dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(run)
    assert "waiting before the next" in str(tick(instance, databases))
    later = time.time() + RETRY_SECONDS
    monkeypatch.setattr(time, "time", lambda: later)
    assert isinstance(tick(instance, databases), dg.RunRequest)


def test_with_the_warehouse_switched_off_nothing_is_started(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    off = Databases(lambda: settings.model_copy(update={"clickhouse_enabled": False}))
    assert tick(instance, off) == "CLICKHOUSE_ENABLED is false"
