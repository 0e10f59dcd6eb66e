"""Cache and budgets in a real Redis: shared by instances, and no condition for an answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import httpx
import psycopg
import pytest

from config.settings import Settings
from stream_api import shared_cache
from stream_api.query_cache import Answer, Question
from stream_api.shared_cache import AWAY_SECONDS, SharedStore
from tests.live.redis_server import RedisServer
from tests.live.sidecar import PATCHED, SidecarProcess
from tests.live.waiting import until

PATIENT_SECONDS = 10
QUESTION = Question.of("company-a", "metrics", {"metric": "score"})
ANSWER = Answer(b'{"a":1}', 'W/"tag"')


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def stores(
    server: RedisServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[SharedStore]]:
    """Two instances. A busy machine is no outage for them."""
    monkeypatch.setattr(shared_cache, "ANSWER_SECONDS", PATIENT_SECONDS)
    both = [SharedStore(server.url, per_minute=60, clock=clock) for _ in range(2)]
    yield both
    for store in both:
        await store.close()


async def test_an_answer_of_one_instance_is_given_by_the_other(stores: list[SharedStore]) -> None:
    one, two = stores
    assert await two.get(QUESTION, "v1") is None
    await one.put(QUESTION, "v1", ANSWER)
    assert await two.get(QUESTION, "v1") == ANSWER
    assert await two.get(QUESTION, "v2") is None
    other_company = QUESTION._replace(company_id="company-b")
    assert await two.get(other_company, "v1") is None


async def test_instances_share_a_companys_budget(stores: list[SharedStore]) -> None:
    waits = [await stores[number % 2].take("company-a") for number in range(8)]
    assert waits[:6] == [0.0] * 6
    assert 0 < waits[-1] <= 1
    assert await stores[0].take("company-b") == 0.0


async def test_an_outage_costs_the_cache_and_no_answer(
    server: RedisServer, stores: list[SharedStore], clock: Clock
) -> None:
    store = stores[0]
    await store.put(QUESTION, "v1", ANSWER)
    assert store.answers is True
    server.stop()
    assert await store.get(QUESTION, "v1") is None
    assert store.answers is False
    # Budgets go on in process.
    waits = [await store.take("company-a") for _ in range(8)]
    assert waits[:6] == [0.0] * 6
    assert waits[-1] > 0
    server.start()
    # It is not asked before the pause is over.
    assert not await store.ping()
    clock.now += AWAY_SECONDS
    assert await store.ping()
    await store.put(QUESTION, "v1", ANSWER)
    assert await store.get(QUESTION, "v1") == ANSWER


async def test_two_sidecars_share_answers_and_go_on_without_redis(
    settings: Settings, pg: psycopg.Connection, server: RedisServer
) -> None:
    row = pg.execute(
        "INSERT INTO cohorts (company_id, name) VALUES ('company-a', 'c') RETURNING id::text"
    ).fetchone()
    assert row is not None
    path, query = f"/cohort/{row[0]}/trends", {"companyId": "company-a", "metric": "score"}
    client = httpx.AsyncClient(timeout=30)
    patches = json.dumps({"stream_api.shared_cache": {"ANSWER_SECONDS": PATIENT_SECONDS}})
    both = [
        SidecarProcess(settings, PATCHED, REDIS_URL=server.url, PATCHES=patches) for _ in range(2)
    ]
    try:
        for process in both:
            process.start()

        async def ask(one: SidecarProcess) -> httpx.Response:
            return await client.get(f"{one.url}{path}", params=query)

        answers = [await ask(one) for one in both]
        assert [answer.headers["x-cache"] for answer in answers] == ["miss", "hit"]
        assert answers[0].content == answers[1].content

        def redis_word() -> str:
            health = httpx.get(f"{both[0].url}/health").json()
            return str(health["dependencies"]["redis"])

        assert await until(redis_word, lambda word: word == "ok") == "ok"
        server.stop()
        alone = await ask(both[0])
        assert (alone.status_code, alone.headers["x-cache"]) == (200, "miss")
        await until(redis_word, lambda word: word == "degraded")
    finally:
        await client.aclose()
        for process in both:
            process.stop()
