"""Figures of cohorts on real servers, against the same figures in plain Python.

One page, because every figure is held against the same population and its plain computation.
"""

from __future__ import annotations

import json
import random
import statistics as plain
import uuid
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from config.settings import Settings
from tests.live.sidecar import SidecarProcess

COMPANY, OTHER = "company-a", "company-b"
PERIODS = ["2025-09-01", "2025-09-08", "2025-09-15"]


class World:
    """Two cohorts of one company, one of another, and their values in the warehouse."""

    def __init__(self, pg: psycopg.Connection, ch: Client) -> None:
        self.values: dict[tuple[str, str, str], list[float]] = {}
        self.members: dict[str, list[str]] = {}
        self.cohorts = {
            name: self._cohort(pg, company, name)
            for company, name in [(COMPANY, "first"), (COMPANY, "second"), (OTHER, "theirs")]
        }
        generator = random.Random(7)
        for name, size in (("first", 9), ("second", 7), ("theirs", 6)):
            self.members[name] = [str(uuid.uuid4()) for _ in range(size)]
        self.members["second"] += self.members["first"][:3]
        rows, members = [], []
        for name, users in self.members.items():
            company = OTHER if name == "theirs" else COMPANY
            members += [
                (user, self.cohorts[name], company, "2025-01-01 00:00:00") for user in users
            ]
        for user in {user for users in self.members.values() for user in users}:
            company = OTHER if user in self.members["theirs"] else COMPANY
            for period in PERIODS:
                for _ in range(generator.randint(1, 3)):
                    value = round(generator.gauss(0.6, 0.2), 4)
                    self.values.setdefault((company, period, user), []).append(value)
                    rows.append((company, period, value, user))
        self._insert(ch, rows, members)

    def observations(self, name: str, period: str) -> list[float]:
        """A user is one observation: the mean of their values."""
        company = OTHER if name == "theirs" else COMPANY
        return [plain.fmean(self.values[company, period, u]) for u in self.members[name]]

    def _cohort(self, pg: psycopg.Connection, company: str, name: str) -> str:
        row = pg.execute(
            "INSERT INTO cohorts (company_id, name) VALUES (%s, %s) RETURNING id::text",
            (company, name),
        ).fetchone()
        assert row is not None
        return str(row[0])

    def _insert(self, ch: Client, rows: list[Any], members: list[Any]) -> None:
        ch.raw_insert(
            "metrics_timeseries",
            insert_block="\n".join(
                json.dumps(
                    {
                        "company_id": company,
                        "metric_name": "score",
                        "metric_value": value,
                        "period_start": period,
                        "timestamp": "2025-09-01 00:00:00.000",
                        "user_id": user,
                        "event_id": f"e-{number}",
                    }
                )
                for number, (company, period, value, user) in enumerate(rows)
            ).encode(),
            fmt="JSONEachRow",
        )
        ch.raw_insert(
            "user_cohorts",
            insert_block="\n".join("\t".join(row) for row in members).encode(),
            fmt="TSV",
        )


@pytest.fixture
def world(pg: psycopg.Connection, ch: Client) -> World:
    return World(pg, ch)


@pytest.fixture
def api(sidecar: SidecarProcess) -> httpx.Client:
    return httpx.Client(base_url=sidecar.url, params={"companyId": COMPANY}, timeout=30)


def test_metrics_equal_the_plain_computation(api: httpx.Client, world: World) -> None:
    answer = api.get(f"/cohort/{world.cohorts['first']}/metrics", params={"metric": "score"})
    assert answer.status_code == 200
    body = answer.json()
    assert [row["periodStart"] for row in body["data"]] == PERIODS
    assert (body["metricName"], body["count"]) == ("score", 3)
    assert body["asOf"]
    for row in body["data"]:
        values = world.observations("first", row["periodStart"])
        cuts = plain.quantiles(values, n=100, method="inclusive")
        assert row["sampleSize"] == len(values) == 9
        assert row["avgValue"] == pytest.approx(plain.fmean(values))
        assert row["stdDev"] == pytest.approx(plain.stdev(values))
        assert [row["p50"], row["p75"], row["p95"]] == pytest.approx([cuts[49], cuts[74], cuts[94]])
        assert [row["minValue"], row["maxValue"]] == pytest.approx([min(values), max(values)])


def test_view_shows_the_same_finished_rows(ch: Client, world: World) -> None:
    rows = ch.query(
        "SELECT cohort_id, toString(period_start), avg_value, sample_size, p95, std_dev"
        " FROM cohort_metrics_mv WHERE metric_name = 'score'"
    ).result_rows
    assert len(rows) == 9
    names = {cohort: name for name, cohort in world.cohorts.items()}
    for cohort, period, mean, size, _, deviation in rows:
        values = world.observations(names[cohort], period)
        assert (size, mean) == (len(values), pytest.approx(plain.fmean(values)))
        assert deviation == pytest.approx(plain.stdev(values))


def test_removed_member_leaves_every_period(api: httpx.Client, world: World, ch: Client) -> None:
    gone = world.members["first"].pop()
    ch.command(f"DELETE FROM user_cohorts WHERE company_id = '{COMPANY}' AND user_id = '{gone}'")
    answer = api.get(f"/cohort/{world.cohorts['first']}/metrics", params={"metric": "score"})
    for row in answer.json()["data"]:
        values = world.observations("first", row["periodStart"])
        assert row["sampleSize"] == 8
        assert row["avgValue"] == pytest.approx(plain.fmean(values))


def test_dates_limit_and_cursor_walk_the_periods(api: httpx.Client, world: World) -> None:
    path = f"/cohort/{world.cohorts['first']}/metrics"
    both = {"metric": "score", "startDate": PERIODS[0], "endDate": PERIODS[1]}
    assert [r["periodStart"] for r in api.get(path, params=both).json()["data"]] == PERIODS[:2]
    seen, cursor = [], None
    while True:
        query = {"metric": "score", "limit": "1"} | ({"cursor": cursor} if cursor else {})
        page = api.get(path, params=query).json()
        seen += [row["periodStart"] for row in page["data"]]
        cursor = page.get("nextCursor")
        if cursor is None:
            break
    assert seen == PERIODS


def test_trends_are_the_latest_periods_ascending(api: httpx.Client, world: World) -> None:
    answer = api.get(
        f"/cohort/{world.cohorts['first']}/trends", params={"metric": "score", "periods": 2}
    ).json()
    assert [t["periodStart"] for t in answer["trends"]] == PERIODS[1:]
    assert answer["trends"][0]["trend"] == "stable"
    means = [plain.fmean(world.observations("first", period)) for period in PERIODS[1:]]
    assert [t["value"] for t in answer["trends"]] == pytest.approx(means)
    assert answer["trends"][1]["changePercent"] == pytest.approx((means[1] / means[0] - 1) * 100)


def test_comparison_takes_the_latest_period_and_ranks(api: httpx.Client, world: World) -> None:
    ids = [world.cohorts["first"], world.cohorts["second"]]
    answer = api.post("/cohort/compare", json={"cohortIds": ids, "metric": "score"}).json()
    comparison = answer["comparison"]
    assert (comparison["periodStart"], answer["cohortCount"]) == (PERIODS[-1], 2)
    means = {
        world.cohorts[name]: plain.fmean(world.observations(name, PERIODS[-1]))
        for name in ("first", "second")
    }
    ordered = sorted(means, key=lambda cohort: -means[cohort])
    assert [c["cohortId"] for c in comparison["cohorts"]] == ordered
    assert [c["rank"] for c in comparison["cohorts"]] == [1, 2]
    assert [c["value"] for c in comparison["cohorts"]] == pytest.approx([means[c] for c in ordered])
    assert {c["cohortName"] for c in comparison["cohorts"]} == {"first", "second"}
    assert len(comparison["pairs"]) == 1


def test_overview_is_of_the_cohorts_own_latest_period(
    api: httpx.Client, world: World, ch: Client
) -> None:
    late = world.members["second"][0]  # of the second cohort alone
    row = {
        "company_id": COMPANY,
        "metric_name": "hours",
        "metric_value": 4.5,
        "period_start": "2025-10-01",
        "timestamp": "2025-10-01 00:00:00.000",
        "user_id": late,
        "event_id": "late",
    }
    ch.raw_insert("metrics_timeseries", insert_block=json.dumps(row), fmt="JSONEachRow")
    first = api.get(f"/cohort/{world.cohorts['first']}/overview").json()
    assert (first["periodStart"], set(first["metrics"])) == (PERIODS[-1], {"score"})
    mean = plain.fmean(world.observations("first", PERIODS[-1]))
    assert first["metrics"]["score"] == pytest.approx(mean)
    second = api.get(f"/cohort/{world.cohorts['second']}/overview").json()
    assert (second["periodStart"], second["metrics"]) == ("2025-10-01", {"hours": 4.5})
    earlier = api.get(
        f"/cohort/{world.cohorts['second']}/overview", params={"periodStart": PERIODS[0]}
    ).json()
    mean = plain.fmean(world.observations("second", PERIODS[0]))
    assert earlier["metrics"] == {"score": pytest.approx(mean)}
    nothing = api.get(
        f"/cohort/{world.cohorts['first']}/overview", params={"periodStart": "1999-01-01"}
    ).json()
    assert nothing["metrics"] == {}


def test_top_ranks_the_callers_company_alone(
    api: httpx.Client, world: World, pg: psycopg.Connection, ch: Client
) -> None:
    few = pg.execute(
        "INSERT INTO cohorts (company_id, name) VALUES (%s, 'few') RETURNING id::text", (COMPANY,)
    ).fetchone()
    assert few is not None
    rows = [(user, few[0], COMPANY, "2025-01-01 00:00:00") for user in world.members["first"][:2]]
    ch.raw_insert(
        "user_cohorts", insert_block="\n".join("\t".join(row) for row in rows).encode(), fmt="TSV"
    )
    answer = api.get("/cohort/top", params={"metric": "score"}).json()
    assert answer["periodStart"] == PERIODS[-1]
    means = {
        world.cohorts[name]: plain.fmean(world.observations(name, PERIODS[-1]))
        for name in ("first", "second")
    }
    ordered = sorted(means, key=lambda cohort: -means[cohort])
    assert [c["cohortId"] for c in answer["cohorts"]] == [*ordered, few[0]]
    assert [c["rank"] for c in answer["cohorts"]] == [1, 2, None]
    assert [c.get("smallSample") for c in answer["cohorts"]] == [None, None, True]
    best = api.get("/cohort/top", params={"metric": "score", "limit": 1, "periodStart": PERIODS[0]})
    assert (best.json()["count"], best.json()["periodStart"]) == (1, PERIODS[0])


def test_retention_counts_members_in_periods_of_the_time_zone(
    api: httpx.Client, world: World, ch: Client
) -> None:
    zone = ZoneInfo("Pacific/Kiritimati")  # 14 hours before UTC: most often another day
    today = datetime.now(zone).date()
    midnight = datetime.combine(today, time(), zone)
    one, two, three = world.members["first"][:3]
    stranger = world.members["second"][0]
    moments = {
        (one, midnight + timedelta(seconds=1)),
        (one, midnight - timedelta(seconds=1)),
        (one, midnight - timedelta(seconds=2)),
        (two, midnight - timedelta(hours=24)),
        (three, midnight - timedelta(hours=24, seconds=1)),
        (stranger, midnight - timedelta(seconds=1)),
    }
    rows = [
        {
            "event_id": f"e-{number}",
            "event_type": event,
            "company_id": company,
            "user_id": user,
            "timestamp": moment.timestamp(),
            "received_at": moment.timestamp(),
            "stream_seq": number,
            "payload": "{}",
        }
        for number, (user, moment, event, company) in enumerate(
            [(user, moment, "journey.step", COMPANY) for user, moment in sorted(moments)]
            + [(two, midnight, "journey.other", COMPANY), (two, midnight, "journey.step", OTHER)]
        )
    ]
    block = "\n".join(json.dumps(row) for row in rows)
    ch.raw_insert("events", insert_block=block, fmt="JSONEachRow")
    answer = api.get(
        f"/cohort/{world.cohorts['first']}/retention",
        params={"event": "journey.step", "period": "day", "periods": 3, "timezone": zone.key},
    ).json()
    assert answer["cohortSize"] == 9
    days = [(today - timedelta(days=back)).isoformat() for back in (2, 1, 0)]
    assert [row["periodStart"] for row in answer["data"]] == days
    assert [row["returned"] for row in answer["data"]] == [1, 2, 1]
    assert [row["complete"] for row in answer["data"]] == [True, True, False]
    assert answer["data"][1]["rate"] == pytest.approx(2 / 9)
    unknown = api.get(
        f"/cohort/{world.cohorts['first']}/retention",
        params={"event": "x", "timezone": "Mars/Base"},
    )
    assert (unknown.status_code, "Mars/Base" in unknown.json()["message"]) == (400, True)


def test_unknown_metric_is_empty(api: httpx.Client, world: World) -> None:
    cohort = world.cohorts["first"]
    metrics = api.get(f"/cohort/{cohort}/metrics", params={"metric": "nothing"})
    assert (metrics.status_code, metrics.json()["data"]) == (200, [])
    trends = api.get(f"/cohort/{cohort}/trends", params={"metric": "nothing"})
    assert (trends.status_code, trends.json()["trends"]) == (200, [])
    compared = api.post("/cohort/compare", json={"cohortIds": [cohort], "metric": "nothing"})
    assert (compared.status_code, compared.json()["comparison"]["cohorts"]) == (200, [])


def test_refusals_name_what_was_wrong(api: httpx.Client, world: World) -> None:
    first, theirs = world.cohorts["first"], world.cohorts["theirs"]
    unknown = str(uuid.uuid4())
    metric = {"metric": "score"}
    cases: list[tuple[httpx.Response, int, str]] = [
        (api.get(f"/cohort/{first}/metrics"), 400, "metric"),
        (api.get("/cohort/cohort-id/metrics", params=metric), 404, "cohort-id"),
        (api.get(f"/cohort/{unknown}/metrics", params=metric), 404, unknown),
        (api.get(f"/cohort/{theirs}/metrics", params=metric), 404, theirs),
        (api.get(f"/cohort/{theirs}/trends", params=metric), 404, theirs),
        (api.get(f"/cohort/{first}/trends", params=metric | {"periods": "0"}), 400, "periods"),
        (api.get(f"/cohort/{first}/metrics", params=metric | {"startDate": "x"}), 400, "startDate"),
        (
            api.get(
                f"/cohort/{first}/metrics",
                params=metric | {"startDate": "2025-02-01", "endDate": "2025-01-01"},
            ),
            400,
            "after",
        ),
        (api.get(f"/cohort/{first}/metrics", params=metric | {"cursor": "x"}), 400, "cursor"),
        (api.post("/cohort/compare", json={"cohortIds": [first, theirs], **metric}), 404, theirs),
        (api.post("/cohort/compare", json={"cohortIds": [], **metric}), 400, "cohortIds"),
        (api.post("/cohort/compare", json={"cohortIds": [first] * 51, **metric}), 400, "cohortIds"),
        (api.post("/cohort/compare", content=b"not json"), 400, ""),
        (
            httpx.get(f"{api.base_url}/cohort/{first}/metrics", params=metric),
            400,
            "companyId is missing",
        ),
    ]
    for answer, status, words in cases:
        assert answer.status_code == status, answer.text
        assert set(answer.json()) == {"error", "message"}
        assert words in answer.json()["message"]


def test_unknown_and_foreign_cohorts_are_told_alike(api: httpx.Client, world: World) -> None:
    unknown, theirs = str(uuid.uuid4()), world.cohorts["theirs"]
    texts = {
        api.get(f"/cohort/{cohort}/metrics", params={"metric": "score"}).text.replace(cohort, "X")
        for cohort in (unknown, theirs)
    }
    assert len(texts) == 1


def test_switched_off_warehouse_answers_501(settings: Settings, world: World) -> None:
    with SidecarProcess(settings, CLICKHOUSE_ENABLED="false") as process:
        answer = httpx.get(
            f"{process.url}/cohort/{world.cohorts['first']}/metrics",
            params={"metric": "score", "companyId": COMPANY},
        )
        health = httpx.get(f"{process.url}/health").json()
    assert answer.status_code == 501
    assert health["dependencies"]["clickhouse"] == "disabled"
    assert health["features"] == {"streaming": True, "clickhouse": False}
