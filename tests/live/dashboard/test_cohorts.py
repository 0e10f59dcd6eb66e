"""Stored figures on the page: intervals of cohorts, a warehouse that is away, and axe."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from playwright.async_api import Page, expect

from config.settings import Settings
from embedded.child import start_together
from tests.live.api import post
from tests.live.conftest import Backend, temporary_folder
from tests.live.dashboard.conftest import COMPANY, expect_events, open_live
from tests.live.producer import Producer
from tests.live.programs import find_program
from tests.live.sidecar import SidecarProcess

# What a hostile producer or colleague would write where a name is expected.
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"
COHORTS = {"Mentees": (9, 0.72), "Buddies": (8, 0.61), f"Few {HOSTILE}": (3, 0.5)}
METRIC = "integration_score"
NODE = Path(__file__).parent / "node"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN_AXE = """async (values) => {
  const { violations } = await axe.run(document, { runOnly: { type: "tag", values } });
  return violations.map(({ id, nodes }) => [id, ...nodes.map(({ target }) => target.join(" "))]);
}"""


@pytest.fixture
def nats_url(stored: Settings) -> str:
    """The module's NATS server, for the producer."""
    return stored.nats_url.get_secret_value()


@pytest.fixture(scope="module")
def sidecar(stored: Settings, backend: Backend) -> Iterator[SidecarProcess]:
    """A sidecar with the warehouse, and three cohorts in it, one of them small."""
    with psycopg.connect(stored.database_url.get_secret_value(), autocommit=True) as pg:
        client = backend.clickhouse_client(stored.clickhouse_database)
        ids = [insert_cohort(pg, client, name, *figures) for name, figures in COHORTS.items()]
        client.close()
    with SidecarProcess(stored, CLICKHOUSE_BATCH_TIMEOUT_MS="300") as process:
        # The first comparison imports scipy, which takes a while on a busy machine.
        body = {"companyId": COMPANY, "cohortIds": ids, "metric": METRIC}
        httpx.post(f"{process.url}/cohort/compare", json=body, timeout=120).raise_for_status()
        yield process


def insert_cohort(pg: psycopg.Connection, ch: Client, name: str, size: int, level: float) -> str:
    """A cohort with members and a value of each; its id."""
    row = pg.execute(
        "INSERT INTO cohorts (company_id, name) VALUES (%s, %s) RETURNING id::text",
        (COMPANY, name),
    ).fetchone()
    assert row is not None
    chance = random.Random(name)
    users = [str(uuid.uuid4()) for _ in range(size)]
    members = [
        {"user_id": u, "cohort_id": row[0], "company_id": COMPANY, "joined_at": "2025-01-01"}
        for u in users
    ]
    values = [
        {
            "company_id": COMPANY,
            "metric_name": METRIC,
            "metric_value": chance.gauss(level, 0.08),
            "period_start": "2025-09-01",
            "timestamp": "2025-09-01 00:00:00.000",
            "user_id": u,
            "event_id": f"e-{u}",
        }
        for u in users
    ]
    for table, rows in (("user_cohorts", members), ("metrics_timeseries", values)):
        block = "\n".join(map(json.dumps, rows)).encode()
        ch.raw_insert(table, insert_block=block, fmt="JSONEachRow")
    return str(row[0])


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, at the version of the lock file."""
    npm = find_program("npm", "npm")
    with temporary_folder() as folder:
        shutil.copytree(NODE, folder / "node")
        command = (npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
        subprocess.run(command, cwd=folder / "node", check=True, capture_output=True)
        return (folder / "node/node_modules/axe-core/axe.min.js").read_text()


async def compare(sidecar: SidecarProcess, page: Page) -> dict[str, Any]:
    """What the API says of the cohorts that the page shows."""
    boxes = page.locator(".choice input")
    ids = await boxes.evaluate_all("(all) => all.map(({ value }) => value)")
    body = {"companyId": COMPANY, "cohortIds": ids, "metric": METRIC}
    answer: dict[str, Any] = (await post(f"{sidecar.url}/cohort/compare", **body)).json()
    return answer["comparison"]  # type: ignore[no-any-return]


def written(interval: list[float] | None) -> str:
    text = "\u2013" if interval is None else " to ".join(f"{end:.2f}" for end in interval)
    return text.replace("-", "\u2212")


async def test_cohorts_stand_with_the_intervals_of_the_api(
    page: Page, sidecar: SidecarProcess
) -> None:
    await open_live(page, sidecar.url)
    rows = page.locator(".ranking tbody tr")
    await expect(rows).to_have_count(3)
    comparison = await compare(sidecar, page)
    expected = comparison["cohorts"]
    assert await rows.locator(".ci").all_text_contents() == [written(c["ci95"]) for c in expected]
    assert await rows.locator("td.mean").all_text_contents() == [
        f"{c['value']:.2f}" for c in expected
    ]
    assert await rows.locator(".people").all_text_contents() == ["9", "8", "3"]
    assert await rows.locator(".rank").all_text_contents() == ["1", "2", "\u2013"]
    assert await page.locator(".ranking .badge").all_text_contents() == ["small sample"]
    # Drawn to scale: ends and mean of a cohort are where its numbers are between two ticks.
    for row, cohort in zip(await rows.all(), expected, strict=True):
        low, high = [
            float((await row.locator(".whisker").get_attribute(end) or "").rstrip("%"))
            for end in ("x1", "x2")
        ]
        mean = float((await row.locator("circle").get_attribute("cx") or "").rstrip("%"))
        share = (cohort["value"] - cohort["ci95"][0]) / (cohort["ci95"][1] - cohort["ci95"][0])
        assert (mean - low) / (high - low) == pytest.approx(share, abs=0.001)

    await page.get_by_text("Differences between cohorts").click()
    pairs = sorted(
        comparison["pairs"], key=lambda p: 2 if p["pAdjusted"] is None else p["pAdjusted"]
    )
    shown = page.locator(".pair-table tbody tr")
    assert await shown.locator(".ci").all_text_contents() == [written(p["ci95"]) for p in pairs]
    smallest = pairs[0]["pAdjusted"]
    text = "< 0.001" if smallest < 0.001 else f"{smallest:.3f}"
    assert await shown.locator(".p").first.text_content() == text

    # Holm adjusts for the pairs that are shown: fewer cohorts, another answer.
    await page.get_by_text("3 of 3 cohorts").click()
    await page.get_by_label("Few").uncheck()
    await expect(rows).to_have_count(2)
    await expect(shown).to_have_count(1)


async def test_new_values_of_members_come_into_the_comparison(
    page: Page, sidecar: SidecarProcess, producer: Producer, stored: Settings, backend: Backend
) -> None:
    await open_live(page, sidecar.url)
    client = backend.clickhouse_client(stored.clickhouse_database)
    with psycopg.connect(stored.database_url.get_secret_value(), autocommit=True) as pg:
        await asyncio.to_thread(insert_cohort, pg, client, "Late", 6, 0.9)
    client.close()
    await page.reload()
    first = page.locator(".ranking tbody tr").first
    await expect(first.locator("th")).to_contain_text("Late")
    before = await first.locator("td.mean").text_content()
    members = backend.clickhouse_client(stored.clickhouse_database)
    users = members.query(
        "SELECT user_id FROM user_cohorts ORDER BY joined_at, user_id"
    ).result_rows
    members.close()
    for (user,) in users:
        await producer.publish(userId=user, metricName=METRIC, value=0.95, periodStart="2025-09-01")
    # Without a reload: the next look finds another entity tag.
    await expect(first.locator("td.mean")).not_to_have_text(before or "")


async def test_a_warehouse_that_is_away_is_said_and_the_page_recovers(
    page: Page, sidecar: SidecarProcess, producer: Producer, backend: Backend
) -> None:
    await open_live(page, sidecar.url)
    outage = page.locator("#outage")
    await expect(outage).to_be_hidden()
    await expect(page.locator(".ranking tbody tr").first).to_be_visible()
    await asyncio.to_thread(backend.clickhouse_process.stop)
    try:
        await expect(outage).to_contain_text("ClickHouse is down: live events go on")
        await producer.publish(metricName="during", value=5)
        await expect(page.locator('.card[data-metric="during"]')).to_be_visible()
        await expect(outage).to_contain_text("Stored figures are")
        await expect(page.locator("#cohorts [data-part=message]")).to_contain_text(
            "be read just now"
        )
        # The last figures stay.
        await expect(page.locator(".ranking tbody tr").first).to_be_visible()
    finally:
        # In this thread: a child dies with the thread that started it.
        start_together([backend.clickhouse_process])
    await expect(outage).to_be_hidden()
    await expect(page.locator("#lag")).to_have_text("0 s")
    await expect(page.locator("#cohorts [data-part=message]")).to_be_hidden()


async def test_axe_finds_nothing_and_hostile_names_are_only_text(
    page: Page, sidecar: SidecarProcess, producer: Producer, axe: str
) -> None:
    await page.add_init_script(axe)
    await open_live(page, sidecar.url)
    for value in (1, 2):
        await producer.publish(metricName=HOSTILE, value=value)
        await producer.publish(subject="journey.flag.updated", flag=HOSTILE, stage=HOSTILE)
        await producer.publish(subject=f"vis.{'x' * 90}", score=value, note=HOSTILE)
    await expect_events(page, 6)
    await expect(page.locator(".ranking tbody tr").first).to_be_visible()
    await page.get_by_text("Differences between cohorts").click()
    await page.locator(".choice summary").click()
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 360)):
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await page.set_viewport_size({"width": width, "height": 860})
        assert await page.evaluate(RUN_AXE, RULES) == [], (scheme, width)
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    await expect(page.locator(".card h3")).to_have_attribute("title", HOSTILE)
    assert await page.locator("img").count() == 1
    assert await page.title() == f"{COMPANY} · Impact analytics"

    # The sign-in box is a state that is seen only then.
    await page.evaluate("document.getElementById('sign-in').hidden = false")
    assert await page.evaluate(RUN_AXE, RULES) == []
