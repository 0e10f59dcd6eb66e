"""The job `retention` as Dagster runs it: by hand it shows, by its schedule it does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from config import Settings
from pipelines.databases import Databases
from pipelines.defs.retention.assets import DUE_CHECK
from pipelines.defs.retention.definitions import flow, retention_schedule
from pipelines.event_stream import EventStreams
from tests.live.conftest import NatsProcess


@pytest.fixture
def nats_url(nats_server: NatsProcess) -> str:
    return nats_server.url


def test_by_hand_it_is_a_dry_run_and_at_night_it_is_not(
    settings: Settings, pipeline_ch: Client, pg: psycopg.Connection
) -> None:
    old = (datetime.now(UTC) - timedelta(days=100)).replace(tzinfo=None)
    pipeline_ch.command(
        "INSERT INTO events (event_id, event_type, company_id, received_at, stream_seq)"
        " SELECT concat('metrics.x-', toString(number), '-1'), 'metrics.x', 'a',"
        " {old:DateTime64(3)}, number FROM numbers(5)",
        parameters={"old": old},
    )
    resources: dict[str, Any] = {
        "databases": Databases(lambda: settings),
        "event_streams": EventStreams(lambda: settings),
    }
    job = dg.Definitions.merge(flow, dg.Definitions(resources=resources)).resolve_job_def(
        "retention"
    )

    def run(config: Any = None) -> tuple[dict[str, Any], dict[str, bool]]:
        with dg.DagsterInstance.ephemeral() as instance:
            result = job.execute_in_process(run_config=config, instance=instance)
        metadata = {
            name: entry.value
            for made in result.get_asset_materialization_events()
            for name, entry in made.materialization.metadata.items()
        }
        return metadata, {
            one.check_name: one.passed for one in result.get_asset_check_evaluations()
        }

    count = "SELECT count() FROM events"
    shown, checks = run()
    assert (shown["dry_run"], shown["drop"], shown["done"]) == (True, 1, 0)
    assert f"{old:%Y%m%d}" in shown["plan"]
    assert checks[DUE_CHECK] is False
    assert pipeline_ch.query(count).result_rows == [(5,)]
    assert pg.execute("SELECT count(*) FROM partition_actions").fetchone() == (0,)

    context = dg.build_schedule_context(
        resources=resources, scheduled_execution_time=datetime(2026, 3, 1, 2, 35, tzinfo=UTC)
    )
    request = retention_schedule(context)
    assert isinstance(request, dg.RunRequest)
    done, checks = run(request.run_config)
    assert (done["dry_run"], done["done"], done["rows"]) == (False, 1, 5)
    assert done["bytes"] > 0
    assert checks == {
        DUE_CHECK: True,
        "no_table_deletes_by_itself": True,
        "streams_keep_what_the_policy_says": True,
    }
    assert pipeline_ch.query(count).result_rows == [(0,)]
    assert pg.execute(
        "SELECT action, outcome, partition_id, length(run_id) FROM partition_actions"
    ).fetchall() == [("drop", "done", f"{old:%Y%m%d}", 36)]
