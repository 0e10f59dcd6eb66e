"""No request of one company ever shows a byte of another's, whatever it names.

Every text of the two other companies carries a marker. Company A asks with random tokens, ids,
paths, parameters and bodies, often with values that belong to the others, and right after B has
asked the same, so that B's answer lies in the cache. What A sent itself may be echoed; no other
marker may be in the answer, its headers or its tag. For ids the answer is as for ids of nobody.

One page: the strategies, the house with its markers and the comparison are one argument.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from config.settings import Settings
from tests.live.cohort_api.tokens import SECRET, bearer
from tests.live.sidecar import SidecarProcess

A, B, C = "tenant-a", "tenant-b", "tenant-c"


class Tenant:
    """A company in both databases; all its texts carry its marker, its ids are its own."""

    def __init__(self, company: str, pg: psycopg.Connection, ch: Client) -> None:
        self.company = company
        self.marker = f"mark{uuid.uuid4().hex}"
        self.metric = f"{self.marker}_metric"
        self.event = f"metrics.{self.marker}"
        self.users = [self._user(pg, number) for number in range(7)]
        self.cohorts = [self._cohort(pg, ch, number) for number in range(2)]
        rows = [
            {
                "company_id": company,
                "metric_name": name,
                "metric_value": number / 7 + (0 if company == A else 1000),
                "period_start": "2025-09-01",
                "timestamp": "2025-09-01 00:00:00.000",
                "user_id": user,
                "event_id": f"{self.marker}-{name}-{number}",
            }
            for number, user in enumerate(self.users)
            for name in (self.metric, "score")
        ]
        _insert(ch, "metrics_timeseries", rows)
        events = [
            {
                "event_id": f"{self.marker}-{number}",
                "event_type": event,
                "company_id": company,
                "user_id": user,
                "timestamp": time.time(),
                "received_at": time.time(),
                "stream_seq": number,
                "payload": json.dumps({"secret": self.marker}),
            }
            for number, user in enumerate(self.users)
            for event in (self.event, "metrics.calculated")
        ]
        _insert(ch, "events", events)

    @property
    def texts(self) -> list[str]:
        """What only this company's answers may hold."""
        return [self.marker, *self.users, *self.cohorts]

    def fingerprint(self, pg: psycopg.Connection) -> str:
        """Of all that the company has in Postgres."""
        rows = pg.execute(
            "SELECT id, name, description, filters, updated_at FROM cohorts WHERE company_id = %s"
            " ORDER BY id",
            (self.company,),
        ).fetchall()
        members = pg.execute(
            "SELECT * FROM user_cohorts WHERE company_id = %s ORDER BY cohort_id, user_id",
            (self.company,),
        ).fetchall()
        return hashlib.sha256(repr((rows, members)).encode()).hexdigest()

    def _user(self, pg: psycopg.Connection, number: int) -> str:
        row = pg.execute(
            "INSERT INTO users (company_id, language, program, email)"
            " VALUES (%s, 'uk', %s, %s) RETURNING id::text",
            (self.company, f"{self.marker}-{number % 2}", f"{self.marker}@x.example"),
        ).fetchone()
        assert row is not None
        return str(row[0])

    def _cohort(self, pg: psycopg.Connection, ch: Client, number: int) -> str:
        filters = json.dumps({"program": [f"{self.marker}-{number}"]})
        row = pg.execute(
            "INSERT INTO cohorts (company_id, name, description, filters, created_by)"
            " VALUES (%s, %s, %s, %s, %s) RETURNING id::text",
            (self.company, f"{self.marker} {number}", self.marker, filters, self.marker),
        ).fetchone()
        assert row is not None
        cohort = str(row[0])
        with pg.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO user_cohorts (user_id, cohort_id, company_id, joined_by)"
                " VALUES (%s, %s, %s, %s)",
                [(user, cohort, self.company, self.marker) for user in self.users],
            )
        _insert(
            ch,
            "user_cohorts",
            [
                {"user_id": user, "cohort_id": cohort, "company_id": self.company, "joined_at": 0}
                for user in self.users
            ],
        )
        return cohort


def _insert(ch: Client, table: str, rows: list[dict[str, Any]]) -> None:
    block = "\n".join(json.dumps(row) for row in rows).encode()
    ch.raw_insert(table, insert_block=block, fmt="JSONEachRow")


class House:
    """A sidecar with three companies behind it."""

    def __init__(self, settings: Settings, pg: psycopg.Connection, ch: Client) -> None:
        self.pg = pg
        self.a, self.b, self.c = (Tenant(company, pg, ch) for company in (A, B, C))
        self.process = SidecarProcess(
            settings, JWT_SECRET=SECRET, COHORT_QUERIES_PER_MINUTE="1000000"
        )
        self.process.start()
        self.client = httpx.Client(base_url=self.process.url, timeout=30)
        self.foreign = self.b.texts + self.c.texts

    def leaks(self, answer: httpx.Response, sent: str) -> list[str]:
        """What of the others is in the answer that the request did not name itself."""
        seen = answer.text + str(answer.headers.raw)
        return [text for text in self.foreign if text in seen and text not in sent]


# Headers that name the answer, not what is in it.
OF_THE_ANSWER = {"date", "x-request-id"}


@pytest.fixture
def house(settings: Settings, pg: psycopg.Connection, ch: Client) -> Iterator[House]:
    house = House(settings, pg, ch)
    try:
        yield house
    finally:
        house.client.close()
        house.process.stop()


# Placeholders, filled with the texts of the house's tenants when the request is made.
KINDS = ("cohort", "user", "metric", "event")
PLACES = [f"{{{owner}_{kind}}}" for owner in "abc" for kind in KINDS]
WORDS = [*PLACES, A, B, C, "score", "metrics.calculated", "", "2025-09-01", "UTC", "..", "%2e", "'"]
texts = st.sampled_from(WORDS) | st.text(max_size=8)
ids = st.sampled_from([f"{{{owner}_cohort}}" for owner in "abc"]) | texts | st.uuids().map(str)
endings = ["", "/metrics", "/trends", "/overview", "/retention", "/members", "/../{b_cohort}"]
paths = st.one_of(
    st.tuples(ids, st.sampled_from(endings)).map(lambda two: f"/cohort/{two[0]}{two[1]}"),
    st.sampled_from(["/cohort", "/cohort/top", "/cohort/compare"]),
    st.sampled_from(["/dlq", "/stream/stats", "/metrics", "/health", "/openapi.json"]),
)
names = ["metric", "event", "companyId", "periodStart", "cursor", "explain", "limit", "timezone"]
queries = st.dictionaries(st.sampled_from(names), texts, max_size=3)
likely = st.fixed_dictionaries(
    {"metric": st.sampled_from(["score", *PLACES]), "event": st.just("metrics.calculated")}
)
bodies = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "cohortIds": st.lists(ids, max_size=3),
        "metric": texts,
        "companyId": texts,
        "name": texts,
        "description": texts,
        "filters": st.dictionaries(st.sampled_from(["language", "program", "and"]), texts),
    },
)
TOKENS = ["own", "none", "forged", "nothing", "wrong claim"]


def token(kind: str) -> dict[str, str]:
    if kind == "own":
        return bearer(A)
    claims = {"companyId": B, "roles": ["super_admin"], "exp": time.time() + 600}
    forged = jwt.encode(claims, "another-secret-of-at-least-32-bytes!", "HS256")
    return {
        "none": {"Authorization": f"Bearer {jwt.encode(claims, '', 'none')}"},
        "forged": {"Authorization": f"Bearer {forged}"},
        "nothing": {},
        # A company of its own in every other place that a token might name one.
        "wrong claim": bearer(A, company=B, company_id=B, tenant=B, role="admin", sub=B),
    }[kind]


def fill(value: Any, house: House) -> Any:
    """The value with its placeholders replaced."""
    if isinstance(value, str):
        for owner, tenant in (("a", house.a), ("b", house.b), ("c", house.c)):
            value = value.replace(f"{{{owner}_cohort}}", tenant.cohorts[0])
            value = value.replace(f"{{{owner}_user}}", tenant.users[0])
            value = value.replace(f"{{{owner}_metric}}", tenant.metric)
            value = value.replace(f"{{{owner}_event}}", tenant.event)
        return value
    if isinstance(value, list):
        return [fill(item, house) for item in value]
    if isinstance(value, dict):
        return {name: fill(item, house) for name, item in value.items()}
    return value


@given(
    method=st.sampled_from(["GET", "GET", "GET", "POST", "PATCH", "DELETE"]),
    path=paths,
    query=st.one_of(queries, likely, st.tuples(queries, likely).map(lambda two: two[0] | two[1])),
    body=bodies,
    kind=st.sampled_from(["own", "own", "own", *TOKENS]),
)
@hypothesis_settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_request_shows_another_companys_data(
    house: House, method: str, path: str, query: dict[str, str], body: Any, kind: str
) -> None:
    path, query, body = fill(path, house), fill(query, house), fill(body, house)
    before = house.b.fingerprint(house.pg), house.c.fingerprint(house.pg)
    try:
        request = house.client.build_request(method, path, params=query, json=body)
    except (httpx.InvalidURL, ValueError):
        return  # no client can send it
    if method == "GET" or path == "/cohort/compare":
        theirs = house.client.build_request(method, path, params=query, json=body)
        theirs.headers.update(bearer(B))
        house.client.send(theirs)
    request.headers.update(token(kind))
    answer = house.client.send(request)
    sent = f"{path} {json.dumps([query, body])}"
    assert answer.status_code < 500, answer.text
    assert not house.leaks(answer, sent), answer.text
    if kind in {"none", "forged", "nothing"} and path.startswith("/cohort"):
        # A slash too many is sent on to the route, which asks for a token.
        assert answer.status_code in {307, 401, 404, 405}, answer.text
    assert (house.b.fingerprint(house.pg), house.c.fingerprint(house.pg)) == before


def test_a_foreign_id_is_answered_like_one_that_nobody_has(house: House) -> None:
    """Text, status and headers, on every route, by path and by body."""

    def answers(cohort: str) -> list[tuple[int, str, list[tuple[str, str]]]]:
        query = {"metric": "score", "event": "metrics.calculated"}
        # A tag of whatever is there: 304 would say that something is.
        headers = {**bearer(A), "If-None-Match": "*"}
        given = [
            *(
                house.client.get(f"/cohort/{cohort}{ending}", params=query, headers=headers)
                for ending in endings[:6]
            ),
            house.client.patch(f"/cohort/{cohort}", json={"name": "mine"}, headers=bearer(A)),
            house.client.delete(f"/cohort/{cohort}", headers=bearer(A)),
            *(
                house.client.post(
                    "/cohort/compare", json={"cohortIds": ids, "metric": "score"}, headers=bearer(A)
                )
                for ids in ([cohort], [house.a.cohorts[0], cohort])
            ),
        ]
        return [
            (
                answer.status_code,
                answer.text.replace(cohort, "ID"),
                sorted(item for item in answer.headers.items() if item[0] not in OF_THE_ANSWER),
            )
            for answer in given
        ]

    foreign, unknown = answers(house.b.cohorts[0]), answers(str(uuid.uuid4()))
    assert foreign == unknown
    assert {status for status, _, _ in foreign} == {404}


def test_a_foreign_company_is_answered_like_one_that_nobody_has(house: House) -> None:
    def answers(company: str) -> list[tuple[int, str]]:
        query = {"companyId": company, "metric": "score", "event": "metrics.calculated"}
        asked = [
            house.client.get(path, params=query, headers=bearer(A))
            for path in ("/cohort", "/cohort/top", f"/cohort/{house.b.cohorts[0]}/metrics")
        ]
        asked.append(
            house.client.post(
                "/cohort", json={"companyId": company, "name": "x"}, headers=bearer(A)
            )
        )
        return [(answer.status_code, answer.text) for answer in asked]

    assert answers(B) == answers("nobody-has-this")
    assert {status for status, _ in answers(B)} == {403}


def test_the_same_question_of_two_companies_has_two_answers(house: House, ch: Client) -> None:
    """Cache keys and tags: with B's tag A is not told that nothing has changed."""
    for table in ("metrics_timeseries", "user_cohorts"):  # a merge makes a new version
        ch.command(f"SYSTEM STOP MERGES {table}")
    query = {"metric": "score"}
    theirs = house.client.get("/cohort/top", params=query, headers=bearer(B))
    again = house.client.get("/cohort/top", params=query, headers=bearer(B))
    assert again.headers["x-cache"] == "hit"
    mine = house.client.get(
        "/cohort/top",
        params=query,
        headers={**bearer(A), "If-None-Match": theirs.headers["etag"]},
    )
    assert (mine.status_code, mine.headers["x-cache"]) == (200, "miss")
    assert mine.headers["etag"] != theirs.headers["etag"]
    assert {c["cohortId"] for c in mine.json()["cohorts"]} == set(house.a.cohorts)
    assert not house.leaks(mine, "")


def test_a_member_of_two_companies_is_counted_for_each_alone(house: House, ch: Client) -> None:
    """The same user id in both companies: values of one never reach the other's figures."""
    user, cohort = house.a.users[0], house.a.cohorts[0]
    row = {
        "company_id": B,
        "metric_name": "score",
        "metric_value": 5000,
        "period_start": "2025-09-01",
        "timestamp": "2025-09-01 00:00:00.000",
        "user_id": user,
        "event_id": "theirs",
    }
    _insert(ch, "metrics_timeseries", [row])
    answer = house.client.get(
        f"/cohort/{cohort}/metrics", params={"metric": "score"}, headers=bearer(A)
    )
    assert answer.json()["data"][0]["maxValue"] < 1
