"""Cohorts by the API: made, listed, changed and removed in Postgres, and who is in them and why."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import psycopg
import pytest

from tests.live.sidecar import SidecarProcess

COMPANY = "company-a"


@pytest.fixture
def api(sidecar: SidecarProcess) -> httpx.Client:
    return httpx.Client(base_url=sidecar.url, params={"companyId": COMPANY}, timeout=30)


def add_user(pg: psycopg.Connection, company: str = COMPANY, **columns: str) -> str:
    row = pg.execute(
        "INSERT INTO users (company_id, language, program, role, joined_at)"
        " VALUES (%s, %s, %s, %s, coalesce(%s, now())) RETURNING id::text",
        (company, *(columns.get(name) for name in ("language", "program", "role", "joined_at"))),
    ).fetchone()
    assert row is not None
    return str(row[0])


def members(api: httpx.Client, cohort: str, **query: Any) -> list[str]:
    answer = api.get(f"/cohort/{cohort}/members", params=query)
    assert answer.status_code == 200, answer.text
    return [member["userId"] for member in answer.json()["members"]]


def test_members_follow_filters_through_create_change_and_removal(
    api: httpx.Client, pg: psycopg.Connection
) -> None:
    mentee = add_user(pg, language="uk", program="mentorship")
    buddy = add_user(pg, language="uk", program="buddy")
    by_hand = add_user(pg, language="de")
    add_user(pg, company="company-b", language="uk", program="mentorship")

    made = api.post(
        "/cohort",
        json={"name": " Mentees ", "filters": {"language": "uk", "program": "mentorship"}},
    )
    assert made.status_code == 201, made.text
    cohort = made.json()["cohort"]
    assert (cohort["name"], cohort["members"], made.json()["membership"]) == ("Mentees", 1, "done")
    assert made.headers["location"] == f"/cohort/{cohort['cohortId']}"
    path = made.headers["location"]
    assert members(api, cohort["cohortId"]) == [mentee]

    pg.execute(
        "INSERT INTO user_cohorts (user_id, cohort_id, company_id, joined_by)"
        " VALUES (%s, %s, %s, 'ada')",
        (by_hand, cohort["cohortId"], COMPANY),
    )
    changed = api.patch(path, json={"filters": {"program": ["buddy", "other"]}})
    assert changed.status_code == 200, changed.text
    # Another kind of members, and the one that a person added stays.
    assert members(api, cohort["cohortId"]) == sorted([buddy, by_hand])
    assert changed.json()["cohort"]["name"] == "Mentees"

    renamed = api.patch(path, json={"name": "Buddies", "description": "who walks along"}).json()
    assert renamed["cohort"]["description"] == "who walks along"
    assert api.patch(path, json={"description": None}).json()["cohort"]["description"] is None
    assert api.get(path).json()["cohort"]["filters"] == {"program": ["buddy", "other"]}

    gone = api.delete(path)
    assert (gone.status_code, gone.json()["deleted"]) == (200, True)
    for answer in (api.get(path), api.delete(path), api.patch(path, json={"name": "x"})):
        assert answer.status_code == 404
    assert api.get(f"{path}/metrics", params={"metric": "score"}).status_code == 404
    assert pg.execute("SELECT count(*) FROM user_cohorts").fetchone() == (0,)


def test_lists_are_read_by_cursor(api: httpx.Client, pg: psycopg.Connection) -> None:
    names = ["Ärzte", "a%b_c", "b", "zz", "日本"]
    for name in names:
        assert api.post("/cohort", json={"name": name}).status_code == 201
    pg.execute("INSERT INTO cohorts (company_id, name) VALUES ('company-b', 'theirs')")
    seen, cursor = [], None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = api.get("/cohort", params=query).json()
        assert page["count"] == len(page["cohorts"]) <= 2
        assert page["asOf"]
        seen += [cohort["name"] for cohort in page["cohorts"]]
        cursor = page.get("nextCursor")
        if cursor is None:
            break
    assert sorted(seen) == sorted(names)
    assert len(seen) == len(names)

    users = sorted(add_user(pg, language="uk") for _ in range(5))
    made = api.post("/cohort", json={"name": "all", "filters": {"language": "uk"}}).json()
    cohort = made["cohort"]["cohortId"]
    first = api.get(f"/cohort/{cohort}/members", params={"limit": 3}).json()
    rest = members(api, cohort, limit=3, cursor=first["nextCursor"])
    assert [m["userId"] for m in first["members"]] + rest == users


def test_membership_explains_itself(api: httpx.Client, pg: psycopg.Connection) -> None:
    early = add_user(pg, language="uk", role="mentee", joined_at="2025-01-31T23:59:59Z")
    add_user(pg, language="uk", role="mentee", joined_at="2025-02-01T00:00:00Z")
    add_user(pg, language="uk", role="mentor", joined_at="2025-01-10T00:00:00Z")
    nobody = add_user(pg, joined_at="2025-01-10T00:00:00Z")
    filters = {
        "joined": {"from": "2025-01-01", "until": "2025-01-31"},
        "or": [{"language": ["uk", "ru"]}, {"program": "mentorship"}],
        "not": {"role": "mentor"},
    }
    made = api.post("/cohort", json={"name": "early", "filters": filters}).json()
    cohort = made["cohort"]["cohortId"]
    assert made["cohort"]["filters"] == filters
    pg.execute(
        "INSERT INTO user_cohorts (user_id, cohort_id, company_id) VALUES (%s, %s, %s)",
        (nobody, cohort, COMPANY),
    )
    listed = api.get(f"/cohort/{cohort}/members", params={"explain": "true"}).json()["members"]
    why = {member["userId"]: member["why"] for member in listed}
    assert set(why) == {early, nobody}
    assert (why[early]["by"], why[early]["filtersMatch"]) == ("filter", True)
    assert (why[nobody]["by"], why[nobody]["filtersMatch"]) == ("person", False)
    parts = {part["key"]: part for part in why[early]["parts"]}
    assert parts["or.0.language"] == {
        "key": "or.0.language",
        "wanted": ["uk", "ru"],
        "actual": "uk",
        "matched": True,
    }
    assert parts["or.1.program"]["matched"] is False
    assert parts["not"]["matched"] is True
    assert parts["joined"]["matched"] is True
    assert "why" not in api.get(f"/cohort/{cohort}/members").json()["members"][0]


def test_change_is_left_to_the_pipeline_while_it_evaluates(
    api: httpx.Client, pg: psycopg.Connection
) -> None:
    add_user(pg, language="uk")
    with pg.transaction():
        pg.execute("SELECT pg_advisory_xact_lock(x'636F'::int, 2)")
        made = api.post("/cohort", json={"name": "later", "filters": {"language": "uk"}}).json()
    assert (made["membership"], made["cohort"]["members"]) == ("pending", 0)
    # The pipeline goes by the change log, where the cohort stands.
    logged = pg.execute("SELECT cohort_id::text FROM cohort_changes WHERE source = 'cohorts'")
    assert (made["cohort"]["cohortId"],) in logged.fetchall()


def test_a_new_cohort_is_known_to_every_route_at_once(api: httpx.Client) -> None:
    # The company's cohorts were read a moment ago, and may be kept for a second.
    assert api.get("/cohort/top", params={"metric": "score"}).status_code == 200
    cohort = api.post("/cohort", json={"name": "new"}).json()["cohort"]["cohortId"]
    assert api.get(f"/cohort/{cohort}/metrics", params={"metric": "x"}).status_code == 200
    api.delete(f"/cohort/{cohort}")
    assert api.get(f"/cohort/{cohort}/metrics", params={"metric": "x"}).status_code == 404


def test_bad_bodies_are_told_what_was_wrong(api: httpx.Client, pg: psycopg.Connection) -> None:
    made = api.post("/cohort", json={"name": "taken"}).json()["cohort"]
    other = api.post("/cohort", json={"name": "other"}).json()["cohort"]["cohortId"]
    path = f"/cohort/{other}"
    unknown = f"/cohort/{uuid.uuid4()}"
    cases: list[tuple[httpx.Response, int, str]] = [
        (api.post("/cohort", json={}), 400, "name"),
        (api.post("/cohort", json={"name": ""}), 400, "name"),
        (api.post("/cohort", json={"name": "a\u0000b"}), 400, "name"),
        (api.post("/cohort", json={"name": "x" * 201}), 400, "name"),
        (api.post("/cohort", json={"name": "x", "color": "red"}), 400, "color"),
        (api.post("/cohort", json={"name": "x", "filters": {"langauge": "uk"}}), 400, "langauge"),
        (api.post("/cohort", json={"name": "x", "filters": {"language": 5}}), 400, "language"),
        (api.post("/cohort", json={"name": "x", "filters": {"joined": {}}}), 400, "joined"),
        (api.post("/cohort", json={"name": "x", "filters": []}), 400, "filters"),
        (api.post("/cohort", json={"name": "taken"}), 409, "of that name"),
        (api.patch(path, json={"name": "taken"}), 409, "of that name"),
        (api.patch(path, json={}), 400, "nothing to change"),
        (api.patch(path, json={"name": None}), 400, "name"),
        (api.patch(path, json={"filters": None}), 400, "filters"),
        (api.patch(unknown, json={"name": "x"}), 404, "no cohort"),
        (api.get("/cohort", params={"cursor": "%%%"}), 400, "cursor"),
        (api.get(f"{path}/members", params={"cursor": "eA"}), 400, "cursor"),
        (api.get("/cohort", params={"limit": 0}), 400, "limit"),
        (api.get("/cohort/not-a-uuid"), 404, "not-a-uuid"),
        (api.get(f"/cohort/{'-' * 36}"), 404, "no cohort"),
    ]
    for answer, status, words in cases:
        assert answer.status_code == status, (answer.request.url, answer.text)
        assert set(answer.json()) == {"error", "message"}
        assert words in answer.json()["message"]
        assert "Value error" not in answer.json()["message"]
    assert api.get(f"/cohort/{made['cohortId']}").json()["cohort"]["name"] == "taken"
    assert pg.execute("SELECT count(*) FROM cohorts").fetchone() == (2,)
