"""Dagster as it is deployed: dagster.yaml with storage in Postgres, workspace.yaml, the daemon."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import dagster as dg
import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from psycopg import sql

from config import Settings
from pipelines.definitions import defs
from pipelines.defs.materialized_views.assets import VIEWS
from tests.live.conftest import Backend
from tests.live.pipelines.population import (
    State,
    add_cohort,
    add_users,
    platform_state,
    warehouse_state,
)

REPOSITORY = Path(__file__).parents[3]
# A committed change has this long to be in ClickHouse; starting the daemon is not part of it.
CONTRACT_SECONDS = 60
START_SECONDS = 60
POLL_SECONDS = 0.1
REFRESH_JOB = "refresh_materialized_views"
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
T = TypeVar("T")


@pytest.fixture
def dagster_database(backend: Backend) -> Iterator[str]:
    """An empty database for Dagster's storage."""
    name = f"dagster_{uuid.uuid4().hex[:12]}"
    with backend.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield name
    with backend.connect() as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


@pytest.fixture
def environment(
    backend: Backend, settings: Settings, dagster_database: str, tmp_path: Path
) -> dict[str, str]:
    """What a supervisor gives to Dagster's processes."""
    shutil.copy(REPOSITORY / "dagster.yaml", tmp_path)
    return {
        "PATH": os.environ["PATH"],
        "DAGSTER_HOME": str(tmp_path),
        "DAGSTER_POSTGRES_URL": backend.postgres.url(dagster_database).replace(
            "postgresql://", "postgresql+psycopg2://", 1
        ),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "CLICKHOUSE_HOST": settings.clickhouse_host,
        "CLICKHOUSE_PORT": str(settings.clickhouse_port),
        "CLICKHOUSE_DATABASE": settings.clickhouse_database,
    }


def test_a_run_by_command_is_recorded_in_postgres(
    backend: Backend, environment: dict[str, str], dagster_database: str, pg: psycopg.Connection
) -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "dagster", "job", "execute"),
            *("-m", "pipelines.definitions", "-j", "refresh_materialized_views"),
        ],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    with backend.connect(dagster_database) as storage:
        runs = storage.execute("SELECT pipeline_name, status FROM runs").fetchall()
        assert runs == [("refresh_materialized_views", "SUCCESS")]
        [(materialized,)] = storage.execute(
            "SELECT count(*) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
        ).fetchall()
        assert materialized == 4
    [(refreshes,)] = pg.execute(
        "SELECT count(*) FROM analytics_mv_refreshes WHERE caller LIKE 'dagster run %'"
    ).fetchall()
    assert refreshes == 4


@pytest.fixture
def daemon(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon with its code server, by workspace.yaml; both end with the test."""
    log = (tmp_path / "daemon.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
        cwd=REPOSITORY,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)
        # Its own process group: nothing of it is left, whatever state it was in.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def wait_for(ch: Client, expected: State, seconds: float) -> float:
    """Seconds until the warehouse holds exactly `expected`."""
    began = time.monotonic()
    while warehouse_state(ch) != expected:
        assert time.monotonic() - began < seconds, "the change did not arrive"
        time.sleep(POLL_SECONDS)
    return time.monotonic() - began


def wait_until(read: Callable[[], T | None]) -> T:
    """What `read` says as soon as it says something."""
    began = time.monotonic()
    while not (found := read()):
        assert time.monotonic() - began < START_SECONDS
        time.sleep(POLL_SECONDS)
    return found


def queue_run(instance: dg.DagsterInstance, job: str) -> str:
    """Queue a run as the UI does, from where the daemon's own runs come."""
    [known] = instance.get_runs(dg.RunsFilter(job_name="sync_cohorts"), limit=1)
    assert known.remote_job_origin is not None
    run = instance.create_run_for_job(
        defs.resolve_job_def(job),
        status=dg.DagsterRunStatus.QUEUED,
        remote_job_origin=known.remote_job_origin._replace(job_name=job),
        job_code_origin=known.job_code_origin and known.job_code_origin._replace(job_name=job),
    )
    return run.run_id


def process_of(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """Process of a run that is working on a step."""
    if not instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_START):
        return None
    said = " ".join(entry.message for entry in instance.all_logs(run_id))
    found = re.search(r"Started process for run \(pid: (\d+)\)", said)
    return int(found[1]) if found else None


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus | None:
    run = instance.get_run_by_id(run_id)
    return run and run.status


@pytest.mark.timeout(500)
def test_a_change_is_in_clickhouse_within_a_minute_and_a_killed_run_is_failed_by_the_daemon(
    pg: psycopg.Connection,
    ch: Client,
    backend: Backend,
    dagster_database: str,
    environment: dict[str, str],
    daemon: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", environment["DAGSTER_POSTGRES_URL"])
    # The schedule of views, that could be due during the test, would take the place in the pool.
    pg.execute(
        "UPDATE analytics_mvs SET first_hour = (extract(hour FROM now()) + 12)::int % 24,"
        " last_hour = (extract(hour FROM now()) + 13)::int % 24"
    )
    add_cohort(pg, "acme", "first")
    wait_for(ch, platform_state(pg), START_SECONDS + CONTRACT_SECONDS)

    users = add_users(pg, "acme", 3, language="uk")
    add_cohort(pg, "acme", "by filter", {"language": "uk"})
    expected_members = {str(user) for user in users}
    began = time.monotonic()
    while {row[0] for row in warehouse_state(ch).members} != expected_members:
        assert time.monotonic() - began < CONTRACT_SECONDS, "the change did not arrive"
        time.sleep(POLL_SECONDS)
    assert warehouse_state(ch) == platform_state(pg)
    print(f"a change took {time.monotonic() - began:.1f} s to ClickHouse")
    with backend.connect(dagster_database) as storage:
        runs = storage.execute(
            "SELECT DISTINCT pipeline_name FROM runs WHERE pipeline_name = 'sync_cohorts'"
        ).fetchall()
        assert runs == [("sync_cohorts",)]

    # The same daemon for what it starts: that alone is ten seconds.
    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        assert instance.run_monitoring_enabled
        view, *_ = VIEWS
        wait_until(
            lambda: not instance.get_runs(dg.RunsFilter(job_name=REFRESH_JOB, statuses=UNDER_WAY))
        )
        pg.execute("SELECT pg_advisory_lock(28022, hashtext(%s))", (view,))
        killed = queue_run(instance, REFRESH_JOB)
        pid = wait_until(lambda: process_of(instance, killed))
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: status_of(instance, killed) is dg.DagsterRunStatus.FAILURE)
        pg.execute("SELECT pg_advisory_unlock(28022, hashtext(%s))", (view,))
        # Its pool is free again, and no run is left that nobody works on.
        after = queue_run(instance, REFRESH_JOB)
        wait_until(lambda: status_of(instance, after) is dg.DagsterRunStatus.SUCCESS)
        assert instance.get_runs(dg.RunsFilter(job_name=REFRESH_JOB, statuses=UNDER_WAY)) == []
