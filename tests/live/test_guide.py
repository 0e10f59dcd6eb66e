"""Every command of the setup guide's Verification, Creating Cohorts and Monitoring, on `make up`.

Addresses are the running system's. `clickhouse-client --query` is `analytics query`, `nats pub` is
`analytics publish`, `psql` is `analytics psql`: the same statement each. What the guide itself has
wrong stands in `docs/compatibility.md` with its right equivalent, which is run here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from embedded.child import wait_until
from tests.live.system import REPOSITORY, Up, free_ports, make_up

pytestmark = pytest.mark.timeout(300)

SYNC_SECONDS = 150
EVENT = {
    "companyId": "test-company",
    "metricName": "integration_score",
    "value": 0.85,
    "periodStart": "2025-11-01",
}


class System:
    """The running system, and a shell beside it."""

    def __init__(self, up: Up) -> None:
        self.up = up
        self.url = f"http://127.0.0.1:{up.ports['PORT_ANALYTICS']}"
        self._environment = {**os.environ, **{name: str(port) for name, port in up.ports.items()}}

    def analytics(self, *arguments: str) -> str:
        """Standard output of `analytics …`."""
        done = subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            env=self._environment,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def query(self, statement: str) -> list[list[str]]:
        """Rows of `analytics query`, as tabs separate them when it is piped."""
        return [line.split("\t") for line in self.analytics("query", statement).splitlines()]

    def psql(self, statement: str) -> list[list[str]]:
        """Rows of `analytics psql -c`."""
        text = self.analytics("psql", "--no-psqlrc", "-qAt", "-F", "\t", "-c", statement)
        return [line.split("\t") for line in text.splitlines()]

    def curl(self, *arguments: str) -> str:
        """Standard output of curl."""
        done = subprocess.run(
            ["curl", "-sS", *arguments], capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """One `make up` for the whole guide."""
    folder = Path(tempfile.mkdtemp(prefix="analytics-guide-"))
    try:
        with make_up(folder, free_ports()) as up:
            up.wait_for(r"^ready in [\d.]+ s$")
            yield System(up)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- Quick start and Verification -----------------------------------------------------------


def test_clickhouse_answers_ping(system: System) -> None:
    assert system.curl(f"http://127.0.0.1:{system.up.ports['CLICKHOUSE_PORT']}/ping") == "Ok.\n"


def test_health_has_the_guides_members(system: System) -> None:
    health = json.loads(system.curl(f"{system.url}/health"))
    assert (health["status"], health["service"]) == ("ok", "analytics")
    assert health["dependencies"]["clickhouse"] == "ok"
    assert health["dependencies"]["redis"] == "disabled"  # it is optional here
    assert health["features"] == {"streaming": True, "clickhouse": True}


def test_published_event_is_seen_by_curl_and_stored(system: System) -> None:
    stream = subprocess.Popen(
        [
            *("curl", "-sN", "-H", "Accept: text/event-stream"),
            f"{system.url}/stream/updates?companyId=test-company",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert stream.stdout is not None
    try:
        lines = iter(stream.stdout.readline, "")
        while "event: connected" not in next(lines):
            pass
        system.analytics("publish", "metrics.calculated", json.dumps(EVENT))
        while (line := next(lines)) != "event: metric_updated\n":
            pass
        data, event_id = next(lines), next(lines)
    finally:
        stream.kill()
        stream.wait()
    assert line == "event: metric_updated\n"
    assert json.loads(data.removeprefix("data: ")) == EVENT
    assert re.fullmatch(r"id: metrics\.calculated-\d+-\d{13}\n", event_id)
    stored_id = event_id.removeprefix("id: ").strip()
    assert wait_until(
        lambda: (
            system.query(f"SELECT count() FROM events WHERE event_id = '{stored_id}'") == [["1"]]
        ),
        30,
    )


def test_clickhouse_verification_queries(system: System) -> None:
    ((events,),) = system.query("SELECT count() FROM teei_analytics.events")
    assert int(events) > 0
    assert len(system.query("SELECT * FROM teei_analytics.metrics_timeseries LIMIT 5")) == 5
    # After the demo's cohorts have been synced.
    assert wait_until(
        lambda: len(system.query("SELECT * FROM teei_analytics.cohort_metrics_mv LIMIT 5")) == 5,
        SYNC_SECONDS,
    )


def test_cohort_calls_name_the_company(system: System) -> None:
    """The guide's calls name no company: they get a 400 that says what to add."""
    path = "/cohort/cohort-id/metrics?metric=integration_score"
    answer = json.loads(system.curl(f"{system.url}{path}"))
    assert answer["error"] == "Bad Request"
    assert "companyId" in answer["message"]

    cohorts = system.psql("SELECT id, company_id FROM cohorts ORDER BY company_id, name LIMIT 2")
    (first, company), (second, _) = cohorts
    base = f"{system.url}/cohort"
    query = f"metric=integration_score&companyId={company}"

    def metrics() -> dict[str, object]:
        return dict(json.loads(system.curl(f"{base}/{first}/metrics?{query}")))

    assert wait_until(lambda: int(str(metrics().get("count", 0))) > 0, SYNC_SECONDS)
    trends = json.loads(system.curl(f"{base}/{first}/trends?{query}&periods=6"))
    assert trends["count"] == 6
    # The newest period has only begun; an earlier one has everybody.
    period = trends["trends"][0]["periodStart"]
    body = {
        "cohortIds": [first, second],
        "metric": "integration_score",
        "companyId": company,
        "periodStart": period,
    }
    compared = json.loads(
        system.curl(
            *("-X", "POST", f"{base}/compare", "-H", "Content-Type: application/json"),
            *("-d", json.dumps(body)),
        )
    )
    assert compared["cohortCount"] == 2
    assert len(compared["comparison"]["cohorts"]) == 2


# --- Creating Cohorts -----------------------------------------------------------------------


def test_cohort_is_created_filled_and_synced(system: System) -> None:
    system.psql(
        "INSERT INTO users (company_id, email, language, program) SELECT 'your-company-id',"
        " 'user' || n || '@example.com', 'uk', 'mentorship' FROM generate_series(1, 4) AS n"
    )
    ((cohort,),) = system.psql(
        """INSERT INTO cohorts (company_id, name, description, filters)
VALUES (
  'your-company-id',
  'Ukrainian Mentorship Program',
  'Participants in Ukrainian mentorship program',
  '{"language": "uk", "program": "mentorship"}'::jsonb
)
RETURNING id;"""
    )
    system.psql(
        f"""INSERT INTO user_cohorts (user_id, cohort_id, company_id)
SELECT
  u.id,
  '{cohort}',
  'your-company-id'
FROM users u
WHERE u.company_id = 'your-company-id'
  AND u.language = 'uk';"""
    )
    assert wait_until(
        lambda: (
            system.query(f"SELECT count() FROM user_cohorts WHERE cohort_id = '{cohort}'")
            == [["4"]]
        ),
        SYNC_SECONDS,
    )
    ((name,),) = system.query(f"SELECT name FROM cohorts WHERE cohort_id = '{cohort}'")
    assert name == "Ukrainian Mentorship Program"


def test_sync_statements_by_hand_fit(system: System) -> None:
    system.query(
        """INSERT INTO teei_analytics.cohorts VALUES (
  'cohort-id',
  'company-id',
  'Ukrainian Mentorship Program',
  'Participants in Ukrainian mentorship program',
  '{"language": "uk", "program": "mentorship"}',
  now(),
  now()
)"""
    )
    before = system.query("SELECT count() FROM user_cohorts")
    system.query(
        """INSERT INTO teei_analytics.user_cohorts
SELECT user_id, cohort_id, company_id, joined_at
FROM user_cohorts_postgres"""
    )
    assert system.query("SELECT count() FROM user_cohorts") == before


# --- Monitoring -----------------------------------------------------------------------------


def test_stream_stats_have_the_guides_members(system: System) -> None:
    stats = json.loads(system.curl(f"{system.url}/stream/stats"))
    assert set(stats["connections"]) == {
        "totalConnections",
        "activeCompanies",
        "connectionsByCompany",
    }
    assert set(stats["replayCache"]) == {"companies", "totalEvents", "eventsByCompany"}
    assert stats["replayCache"]["totalEvents"] > 0


def test_clickhouse_monitoring_queries(system: System) -> None:
    rate = system.query(
        """
  SELECT
    toStartOfMinute(timestamp) as minute,
    count() as events_per_minute
  FROM teei_analytics.events
  WHERE timestamp > now() - INTERVAL 1 HOUR
  GROUP BY minute
  ORDER BY minute DESC
  LIMIT 10
"""
    )
    assert rate
    storage = system.query(
        """
  SELECT
    table,
    formatReadableSize(sum(bytes)) as size,
    count() as partitions
  FROM system.parts
  WHERE active AND database = 'teei_analytics'
  GROUP BY table
"""
    )
    assert {"events", "metrics_timeseries"} <= {row[0] for row in storage}
    # count() over system.parts counts parts; this counts what the column's name says.
    partitions = system.query(
        "SELECT table, uniqExact(partition) FROM system.parts"
        " WHERE active AND database = 'teei_analytics' GROUP BY table"
    )
    # One a day: the system may have started on the day before.
    days = system.query("SELECT uniqExact(toDate(received_at)) FROM teei_analytics.events")
    assert [[dict(partitions)["events"]]] == days
    assert wait_until(lambda: bool(system.query("EXISTS TABLE system.query_log")), 10)
    system.query(
        """
  SELECT
    query,
    query_duration_ms,
    read_rows,
    read_bytes
  FROM system.query_log
  WHERE type = 'QueryFinish'
    AND query_duration_ms > 1000
  ORDER BY event_time DESC
  LIMIT 10
"""
    )


def test_materialised_view_refresh_and_freshness(system: System) -> None:
    system.psql("SELECT refresh_analytics_materialized_views();")
    # pg_matviews has no last_refresh; this view is what that query wanted.
    freshness = system.psql(
        "SELECT schemaname, matviewname, last_refresh FROM analytics_mv_freshness"
        " WHERE schemaname = 'public' AND matviewname LIKE '%_mv'"
    )
    assert all(row[2] for row in freshness)
    assert {row[1] for row in freshness} == {
        "company_dashboard_mv",
        "program_performance_mv",
        "language_group_performance_mv",
        "journey_stage_distribution_mv",
    }
    assert system.psql("SELECT count(*) > 0 FROM company_dashboard_mv") == [["t"]]


def test_expected_output_at_start(system: System) -> None:
    log = (system.up.output.parent / "data" / "logs" / "sidecar.log").read_text()
    assert "[analytics] SSE streaming initialized" in log
    assert "[analytics] ClickHouse event sink initialized" in log
    port = system.up.ports["PORT_ANALYTICS"]
    assert f"[analytics] Analytics Service running on port {port}" in log


def test_every_page_of_the_api_answers(system: System) -> None:
    for path in ("/", "/docs", "/openapi.json", "/metrics", "/health/live", "/stream/health"):
        assert httpx.get(f"{system.url}{path}").status_code == 200, path
