"""Answers from the cache: when they are given, when not any more, and what a company may ask."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from config.settings import Settings
from tests.live.sidecar import PATCHED, SidecarProcess
from tests.live.waiting import until

COMPANY = "company-a"
USER = str(uuid.uuid4())
# The contract wants a committed change in the answers within 60 s; the cache looks each second.
FRESH_SECONDS = 20


@pytest.fixture
def cohort(pg: psycopg.Connection, ch: Client) -> str:
    row = pg.execute(
        "INSERT INTO cohorts (company_id, name) VALUES (%s, 'first') RETURNING id::text", (COMPANY,)
    ).fetchone()
    assert row is not None
    # A merge makes a new version of the data, at any time.
    ch.command("SYSTEM STOP MERGES metrics_timeseries")
    insert_member(ch, row[0], USER)
    insert_value(ch, 1.0, "e-1")
    return str(row[0])


def client_of(sidecar: SidecarProcess) -> httpx.Client:
    return httpx.Client(base_url=sidecar.url, params={"companyId": COMPANY}, timeout=30)


def insert_member(ch: Client, cohort: str, user: str) -> None:
    row = {"user_id": user, "cohort_id": cohort, "company_id": COMPANY, "joined_at": 0}
    ch.raw_insert("user_cohorts", insert_block=json.dumps(row), fmt="JSONEachRow")


def insert_value(ch: Client, value: float, event: str, company: str = COMPANY) -> None:
    row = {
        "company_id": company,
        "metric_name": "score",
        "metric_value": value,
        "period_start": "2025-09-01",
        "timestamp": "2025-09-01 00:00:00.000",
        "user_id": USER,
        "event_id": event,
    }
    ch.raw_insert("metrics_timeseries", insert_block=json.dumps(row), fmt="JSONEachRow")


async def test_an_answer_is_kept_until_its_data_changes(
    sidecar: SidecarProcess, ch: Client, pg: psycopg.Connection, cohort: str
) -> None:
    api = client_of(sidecar)
    path, query = f"/cohort/{cohort}/metrics", {"metric": "score"}

    def ask(**headers: str) -> httpx.Response:
        return api.get(path, params=query, headers=headers)

    async def changed(before: httpx.Response) -> dict[str, Any]:
        answer = await until(
            lambda: ask(**{"If-None-Match": before.headers["etag"]}),
            lambda answer: answer.status_code == 200,
            FRESH_SECONDS,
        )
        return dict(answer.json())

    first, second = ask(), ask()
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
    assert first.content == second.content
    same = ask(**{"If-None-Match": first.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["etag"] == first.headers["etag"]

    # Another company's rows are no news to this one, and the same row once more changes no figure.
    insert_value(ch, 5.0, "other", company="company-b")
    insert_value(ch, 1.0, "e-1")
    assert ask(**{"If-None-Match": first.headers["etag"]}).status_code == 304

    insert_value(ch, 3.0, "e-2")
    assert (await changed(first))["data"][0]["avgValue"] == 2.0
    before = ask()
    ch.command("DELETE FROM user_cohorts WHERE company_id = {c:String}", {"c": COMPANY})
    assert (await changed(before))["data"] == []
    ch.command("SYSTEM STOP MERGES user_cohorts")
    before = ask()
    insert_member(ch, cohort, USER)
    assert (await changed(before))["data"][0]["sampleSize"] == 1

    # A name is Postgres's, changed by somebody else's hand.
    body = {"cohortIds": [cohort], "metric": "score"}
    assert api.post("/cohort/compare", json=body).headers["x-cache"] == "miss"
    assert api.post("/cohort/compare", json=body).headers["x-cache"] == "hit"
    pg.execute("UPDATE cohorts SET name = 'renamed'")
    await until(
        lambda: api.post("/cohort/compare", json=body).json()["comparison"]["cohorts"],
        lambda cohorts: cohorts[0]["cohortName"] == "renamed",
        FRESH_SECONDS,
    )


def test_different_questions_have_different_answers(sidecar: SidecarProcess, cohort: str) -> None:
    api = client_of(sidecar)
    path = f"/cohort/{cohort}/metrics"
    asked: list[dict[str, str]] = [
        {"metric": "score"},
        {"metric": "scor"},
        {"metric": "score", "limit": "1"},
        {"metric": "score", "startDate": "2025-09-02"},
        {"metric": "score", "cursor": "2025-09-02"},
    ]
    assert [api.get(path, params=query).headers["x-cache"] for query in asked] == ["miss"] * 5
    # However it is written, the same question is the same.
    upper = f"/cohort/{cohort.upper()}/metrics"
    for query in ({"metric": "score", "startDate": "1970-01-01"}, {"limit": "100", **asked[0]}):
        assert api.get(upper, params=query).headers["x-cache"] == "hit"


@pytest.fixture
def frugal(settings: Settings) -> Iterator[SidecarProcess]:
    """A sidecar that lets a company compute 2 answers at once, and one every three seconds."""
    with SidecarProcess(settings, COHORT_QUERIES_PER_MINUTE="20") as process:
        yield process


def test_a_company_that_asks_too_much_is_told_when_to_come_back(
    frugal: SidecarProcess, cohort: str
) -> None:
    api = client_of(frugal)

    def ask(number: int) -> httpx.Response:
        return api.get(f"/cohort/{cohort}/metrics", params={"metric": f"m{number}"})

    answers = [ask(number) for number in range(12)]
    assert [answer.status_code for answer in answers[:2]] == [200] * 2
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 3
    assert COMPANY in refused.json()["message"]
    # What is in the cache costs nothing, and another company has its own budget.
    assert ask(0).status_code == 200
    other = api.get("/cohort/top", params={"metric": "m", "companyId": "company-b"})
    assert other.status_code == 200
    text = api.get("/metrics").text
    assert "analytics_query_over_budget_total" in text
    assert 'analytics_query_cache_total{outcome="hit"}' in text


@pytest.fixture
def patient(settings: Settings) -> Iterator[SidecarProcess]:
    """A sidecar whose queries don't end by their time."""
    patches = {"stream_api.cohorts": {"SETTINGS": {"max_execution_time": 600}}}
    with SidecarProcess(settings, PATCHED, PATCHES=json.dumps(patches)) as process:
        yield process


async def test_a_query_ends_when_its_last_client_has_gone(
    patient: SidecarProcess, ch: Client, cohort: str
) -> None:
    # A table that needs minutes for one figure. It has a `_part`, by which its version is told.
    ch.command("DROP TABLE metrics_timeseries")
    ch.command(
        f"CREATE VIEW metrics_timeseries AS SELECT 'p' AS _part, '{COMPANY}' AS company_id,"
        " 'score' AS metric_name, sleepEachRow(0.1) + number AS metric_value,"
        f" toDate('2025-09-01') AS period_start, toNullable('{USER}') AS user_id"
        " FROM numbers(3000) SETTINGS max_block_size = 10"
    )

    def running() -> int:
        found = ch.query(
            "SELECT count() FROM system.processes"
            " WHERE query LIKE '%quantileExactInclusive%' AND query NOT LIKE '%processes%'"
        )
        return int(found.result_rows[0][0])

    def abandoned() -> float:
        text = httpx.get(f"{patient.url}/metrics").text
        return float(text.split("\nanalytics_query_abandoned_total ")[1].split()[0])

    query = {"metric": "score", "companyId": COMPANY}
    url = f"{patient.url}/cohort/{cohort}/metrics"
    async with httpx.AsyncClient(timeout=60) as one, httpx.AsyncClient(timeout=60) as two:
        asked = [asyncio.create_task(c.get(url, params=query)) for c in (one, two)]
        await until(running, lambda count: count == 1)
        # The two share one query, which goes on for the one that stays.
        asked[0].cancel()
        await asyncio.gather(asked[0], return_exceptions=True)
        await until(abandoned, lambda count: count == 1)
        assert running() == 1
        asked[1].cancel()
        await asyncio.gather(asked[1], return_exceptions=True)
        await until(running, lambda count: count == 0)
    assert abandoned() == 2
