"""`analytics retention`: shown first, done when asked to, and refused in plain words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import nats
import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner

from cli.__main__ import app
from cli.refusal import Refused
from config import Settings
from config.names import EVENTS_STREAM
from tests.live.pipelines.population import set_company_policy
from tests.live.pipelines.test_retention import kept, store

Analytics = Callable[..., str]
TODAY = datetime.now(UTC).date()
OLD, RECENT = TODAY - timedelta(days=100), TODAY - timedelta(days=10)
DROPPED = f"{OLD:%Y%m%d}"


@pytest.fixture
def analytics(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Analytics:
    """`analytics retention …`; what it prints."""
    for name, value in {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "NATS_URL": settings.nats_url.get_secret_value(),
        "CLICKHOUSE_HOST": settings.clickhouse_host,
        "CLICKHOUSE_PORT": str(settings.clickhouse_port),
        "CLICKHOUSE_DATABASE": settings.clickhouse_database,
    }.items():
        monkeypatch.setenv(name, value)

    def run(*options: str) -> str:
        result = CliRunner().invoke(app, ["retention", *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_what_is_due_is_shown_and_then_done(
    analytics: Analytics, settings: Settings, pg: psycopg.Connection, ch: Client
) -> None:
    assert analytics() == "nothing is due\n"
    store(ch, OLD, "ab")
    store(ch, RECENT, "ab")
    set_company_policy(pg, "events", "b", 5)

    async def make_stream() -> None:
        async with await nats.connect(settings.nats_url.get_secret_value()) as client:
            await client.jetstream().add_stream(
                name=EVENTS_STREAM, subjects=["metrics.>"], max_age=3600
            )

    asyncio.run(make_stream())
    shown = analytics()
    [names, *lines, last] = shown.splitlines()
    columns = "action dataset what partition companies rows bytes why"
    assert " ".join(names.split()) == columns
    assert [line.split()[:5] for line in lines] == [
        ["drop", "events", "events", DROPPED, "2"],
        ["delete", "events", "events", f"{RECENT:%Y%m%d}", "b"],
        ["widen", "replay", EVENTS_STREAM, "-", "-"],
    ]
    assert last == "3 rows would go; to do it: analytics retention --apply"
    assert kept(ch)["b"] == {OLD, RECENT}

    plan: dict[str, Any] = json.loads(analytics("--json"))
    assert (plan["dryRun"], plan["done"], plan["notes"]) == (True, [], [])
    assert [(one["action"], one["companies"], one["rows"]) for one in plan["steps"]] == [
        ("drop", [], 2),
        ("delete", ["b"], 1),
        ("widen", [], 0),
    ]

    done = json.loads(analytics("--apply", "--json"))
    assert done["dryRun"] is False
    assert [(one["outcome"], one["partition"]) for one in done["done"]] == [
        ("done", DROPPED),
        ("done", f"{RECENT:%Y%m%d}"),
        ("done", None),
    ]
    assert kept(ch) == {"a": {RECENT}}
    assert pg.execute("SELECT DISTINCT run_id, outcome FROM partition_actions").fetchall() == [
        ("analytics retention", "done")
    ]
    assert analytics("--apply") == "nothing is due\n"


def test_a_stream_is_narrowed_only_when_asked_to(analytics: Analytics, settings: Settings) -> None:
    async def age(wanted: float | None = None) -> float | None:
        async with await nats.connect(settings.nats_url.get_secret_value()) as client:
            js = client.jetstream()
            if wanted is not None:
                await js.add_stream(
                    name=EVENTS_STREAM, subjects=["metrics.>"], max_age=wanted, allow_direct=True
                )
            return (await js.stream_info(EVENTS_STREAM)).config.max_age

    asyncio.run(age(90 * 3600))
    nothing, alone = analytics("--apply").splitlines()
    assert nothing == "nothing is due"
    assert alone.startswith(f"left alone: {EVENTS_STREAM}: keeps 324000 s, the policy is 86400 s")
    assert asyncio.run(age()) == 90 * 3600
    [_, line] = analytics("--apply", "--narrow-streams").splitlines()
    assert line.split()[:3] == ["done", "narrow", EVENTS_STREAM]
    assert asyncio.run(age()) == 24 * 3600


def test_an_absent_server_and_a_warehouse_switched_off_are_one_line(
    analytics: Analytics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:1")
    with pytest.raises(Refused, match="NATS does not answer"):
        analytics()
    monkeypatch.setenv("CLICKHOUSE_ENABLED", "false")
    with pytest.raises(Refused, match="there is no warehouse"):
        analytics()
