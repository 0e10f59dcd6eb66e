"""What `bin/test-compose` asks of running containers; run inside of the sidecar's.

    python - URL NATS_URL CLICKHOUSE_HOST CLICKHOUSE_PORT [tenants] [monitoring] < checks.py

It uses what the image has and nothing else of this repository. `tenants` needs the policies of
`deploy/clickhouse/row_policies.sql`; the embedded engine has no users, so they are seen only here.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import Callable

import clickhouse_connect
import httpx
import nats
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from httpx_sse import aconnect_sse

WAIT_SECONDS = 60
# Of a user that lives as long as this run.
READER_PASSWORD = "compose-test-1"
GRAFANA = "http://grafana:3000"
PROMETHEUS = "http://prometheus:9090"


def connect(host: str, port: int, user: str, password: str, **settings: str) -> Client:
    """A client of the warehouse."""
    return clickhouse_connect.get_client(
        host=host,
        port=port,
        username=user,
        password=password,
        database=os.environ.get("CLICKHOUSE_DATABASE", "teei_analytics"),
        autogenerate_session_id=False,
        settings=settings,
    )


def wait_for(what: str, look: Callable[[], bool]) -> None:
    """Until `look` is true.

    Raises:
        SystemExit: it was not, within a minute.
    """
    give_up = time.monotonic() + WAIT_SECONDS
    while not look():
        if time.monotonic() > give_up:
            raise SystemExit(f"not within {WAIT_SECONDS} s: {what}")
        time.sleep(0.5)
    print(f"ok: {what}")


async def stream_one(url: str, nats_url: str, company: str) -> str:
    """Publish an event as any producer does; the id under which a client receives it."""
    async with (
        httpx.AsyncClient(timeout=WAIT_SECONDS) as client,
        aconnect_sse(client, "GET", f"{url}/stream/updates?companyId={company}") as source,
    ):
        events = source.aiter_sse()
        while (await anext(events)).event != "connected":
            pass
        async with await nats.connect(nats_url) as connection:
            event = {"companyId": company, "metricName": "compose", "value": 0.85}
            await connection.publish("metrics.calculated", json.dumps(event).encode())
        received = await anext(events)
        assert received.event == "metric_updated", received
        assert json.loads(received.data)["companyId"] == company
        print(f"ok: published and received as {received.id}")
        return received.id


def check_events(url: str, nats_url: str, ch: Client) -> list[str]:
    """Two companies' events: published, received, and stored under the same ids."""
    companies = [f"compose-{name}-{uuid.uuid4().hex[:8]}" for name in "ab"]
    ids = [asyncio.run(stream_one(url, nats_url, company)) for company in companies]
    counted = "SELECT count() FROM events FINAL WHERE event_id IN {ids:Array(String)}"
    wait_for(
        "both are in ClickHouse, once each",
        lambda: bool(ch.query(counted, {"ids": ids}).result_rows == [(2,)]),
    )
    return companies


def check_tenants(host: str, port: int, ch: Client, companies: list[str]) -> None:
    """A company's reader sees its own rows, whatever it asks, and can change nothing."""
    user = f"reader_{uuid.uuid4().hex[:8]}"
    ch.command(
        f"CREATE USER {user} IDENTIFIED BY '{READER_PASSWORD}'"
        f" SETTINGS SQL_company_id = '{companies[0]}' READONLY"
    )
    try:
        ch.command(f"GRANT company_reader TO {user}")
        reader = connect(host, port, user, READER_PASSWORD)
        for table in ("events", "metrics_timeseries", "daily_event_counts_mv"):
            seen = reader.query(f"SELECT DISTINCT company_id FROM {table}").result_rows
            assert seen == [(companies[0],)], f"{table}: {seen}"
        for statement in (
            f"SET SQL_company_id = '{companies[1]}'",
            f"SELECT count() FROM events SETTINGS SQL_company_id = '{companies[1]}'",
            "ALTER TABLE events DELETE WHERE 1",
            "SELECT * FROM dead_letters",
        ):
            try:
                reader.command(statement)
            except ClickHouseError:
                continue
            raise SystemExit(f"a company's reader was allowed: {statement}")
        print(f"ok: {user} sees {companies[0]} and nothing else")
    finally:
        ch.command(f"DROP USER {user}")


def check_monitoring() -> None:
    """Prometheus reads the sidecar; Grafana has the dashboards, and its sources answer."""
    wait_for(
        "Prometheus reads the sidecar",
        lambda: (
            [
                target["health"]
                for target in httpx.get(f"{PROMETHEUS}/api/v1/targets").json()["data"][
                    "activeTargets"
                ]
            ]
            == ["up"]
        ),
    )
    login = ("admin", os.environ.get("GRAFANA_PASSWORD", "admin"))
    with httpx.Client(base_url=GRAFANA, auth=login, timeout=30) as grafana:
        wait_for(
            "Grafana has four dashboards",
            lambda: len(grafana.get("/api/search?tag=impact-analytics").json()) == 4,
        )
        for source in ("prometheus", "clickhouse", "postgres"):
            wait_for(
                f"Grafana's source {source} answers",
                lambda source=source: (
                    grafana.get(f"/api/datasources/uid/{source}/health").json().get("status")
                    == "OK"
                ),
            )


def main(arguments: list[str]) -> None:
    """Run the checks; the first that fails ends it with a line."""
    url, nats_url, host, port, *more = arguments
    user = os.environ.get("CLICKHOUSE_USER", "teei")
    ch = connect(host, int(port), user, os.environ.get("CLICKHOUSE_PASSWORD", ""))
    companies = check_events(url, nats_url, ch)
    if "tenants" in more:
        check_tenants(host, int(port), ch, companies)
    if "monitoring" in more:
        check_monitoring()


if __name__ == "__main__":
    main(sys.argv[1:])
