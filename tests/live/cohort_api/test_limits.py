"""A question that needs too much of ClickHouse is stopped there, and the answer says so."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from datetime import date

import httpx
import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from config.settings import Settings
from stream_api import cohorts
from stream_api.cohorts import CohortFigures
from stream_api.errors import Refusal
from stream_api.warehouse import Warehouse
from tests.live.sidecar import SidecarProcess

COMPANY = "company-a"
USER = str(uuid.uuid4())
# 640 MB, where the whole house has 2 GB: the question's own limit is met before.
TOO_MUCH_MEMORY = "arraySum(range(80000000 + number))"
TOO_LONG = "sleepEachRow(0.1)"


@pytest.fixture
def cohort(pg: psycopg.Connection, ch: Client) -> str:
    [(cohort,)] = pg.execute(
        "INSERT INTO cohorts (company_id, name) VALUES (%s, 'c') RETURNING id::text", (COMPANY,)
    ).fetchall()
    row = {"user_id": USER, "cohort_id": cohort, "company_id": COMPANY, "joined_at": 0}
    ch.raw_insert("user_cohorts", insert_block=json.dumps(row), fmt="JSONEachRow")
    return str(cohort)


def make_expensive(ch: Client, value: str, rows: int) -> None:
    """Metric rows that cost `value` each. They have a `_part`, by which their version is told."""
    ch.command("DROP TABLE metrics_timeseries")
    ch.command(
        f"CREATE VIEW metrics_timeseries AS SELECT 'p' AS _part, '{COMPANY}' AS company_id,"
        f" 'score' AS metric_name, toFloat64({value}) AS metric_value,"
        f" toDate('2025-09-01') AS period_start, toNullable('{USER}') AS user_id"
        f" FROM numbers({rows}) SETTINGS max_block_size = 1"
    )


def test_a_question_over_its_memory_is_answered_with_the_limit(
    sidecar: SidecarProcess, ch: Client, cohort: str
) -> None:
    make_expensive(ch, TOO_MUCH_MEMORY, 1)
    answer = httpx.get(
        f"{sidecar.url}/cohort/{cohort}/metrics",
        params={"metric": "score", "companyId": COMPANY},
        timeout=60,
    )
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "30"
    body = answer.json()
    assert body["error"] == "Service Unavailable"
    assert body["message"].startswith("the question needs more of ClickHouse than one may have: ")
    assert "476.84 MiB" in body["message"]
    assert "ask for fewer cohorts, or a shorter time" in body["message"]


@pytest.fixture
async def figures(settings: Settings) -> AsyncIterator[CohortFigures]:
    warehouse = Warehouse(settings)
    yield CohortFigures(warehouse)
    await warehouse.close()


async def test_a_question_over_its_time_is_stopped(
    figures: CohortFigures, ch: Client, cohort: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cohorts.SETTINGS["max_execution_time"] == 10
    monkeypatch.setitem(cohorts.SETTINGS, "max_execution_time", 1)
    make_expensive(ch, TOO_LONG, 300)
    with pytest.raises(Refusal) as refused:
        await figures.metrics(COMPANY, cohort, "score", date(2025, 1, 1), date(2025, 12, 31), 10)
    assert refused.value.status_code == 503
    assert "Timeout exceeded" in str(refused.value.detail)
    assert "ask for fewer cohorts" in str(refused.value.detail)
    running = "SELECT count() FROM system.processes WHERE query LIKE '%quantileExactInclusive%'"
    assert ch.query(f"{running} AND query NOT LIKE '%system.processes%'").result_rows == [(0,)]
