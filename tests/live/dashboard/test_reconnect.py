"""Whatever is cut, the page comes back and shows each event once, in order."""

from __future__ import annotations

from collections.abc import Iterator

import jwt
import pytest
from playwright.async_api import BrowserContext, Page, expect

from config.settings import Settings
from tests.live.conftest import NatsProcess
from tests.live.dashboard.conftest import (
    COMPANY,
    expect_events,
    expect_state,
    feed_titles,
    open_live,
)
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess, until_read

SECRET = "a secret of at least thirty-two bytes"


async def publish_steps(producer: Producer, start: int, stop: int) -> None:
    for n in range(start, stop):
        await producer.publish(subject="journey.flag.updated", flag=f"step {n}", value=True)
        await producer.publish(metricName="steps", value=n)
    await producer.nats.flush()


def steps(start: int, stop: int) -> list[str]:
    return [f"Step {n}" for n in range(start, stop)]


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_a_restart_of_the_server_loses_and_doubles_nothing(
    page: Page, sidecar: SidecarProcess, producer: Producer, end: str
) -> None:
    await open_live(page, sidecar.url)
    await publish_steps(producer, 0, 20)
    await expect_events(page, 40)
    getattr(sidecar, end)()
    await expect_state(page, "reconnecting")
    await publish_steps(producer, 20, 40)
    sidecar.start()
    await publish_steps(producer, 40, 60)
    await expect_events(page, 120)
    await expect_state(page, "live")
    assert await feed_titles(page) == steps(0, 60)
    card = page.locator('.card[data-metric="steps"]')
    await expect(card).to_have_attribute("data-points", "60")
    await expect(page.locator("#state")).to_contain_text("replayed")


async def test_a_restart_before_the_first_event_loses_nothing(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    await open_live(page, sidecar.url)
    sidecar.kill()
    await publish_steps(producer, 0, 5)
    sidecar.start()
    await expect_events(page, 10)
    assert await feed_titles(page) == steps(0, 5)


async def test_a_reload_goes_on_where_the_page_stopped(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    await open_live(page, sidecar.url)
    await publish_steps(producer, 0, 5)
    await expect_events(page, 10)
    await page.goto(f"{sidecar.url}/assets/favicon.svg")
    await publish_steps(producer, 5, 10)
    await until_read(sidecar.url, 20)
    await open_live(page, sidecar.url)
    await expect_events(page, 20)
    assert await feed_titles(page) == steps(0, 10)
    await expect(page.locator('.card[data-metric="steps"]')).to_have_attribute("data-points", "10")
    await expect(page.locator("#state")).to_have_text("Live, 10 replayed")


async def test_back_from_another_company_nothing_is_missing(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    await open_live(page, sidecar.url)
    await publish_steps(producer, 0, 3)
    await expect_events(page, 6)
    company = page.get_by_label("Company")
    await company.fill("acme")
    await company.press("Enter")
    await expect_events(page, 0)
    await expect_state(page, "live")
    await publish_steps(producer, 3, 6)
    await company.fill(COMPANY)
    await company.press("Enter")
    await expect_events(page, 12)
    assert await feed_titles(page) == steps(0, 6)


async def test_a_resume_point_that_is_gone_is_said_and_the_page_is_live(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    await page.goto(f"{sidecar.url}/assets/favicon.svg")
    await page.evaluate(
        "sessionStorage.setItem('stream-position:/stream/updates:test-company', 'metrics.a-999-1')"
    )
    await open_live(page, sidecar.url)
    await expect(page.get_by_role("alert")).to_contain_text("could not be replayed")
    await producer.publish(metricName="a", value=1)
    await expect_events(page, 1)
    await page.get_by_role("button", name="Dismiss").click()
    await expect(page.locator("#notice")).to_be_hidden()


async def test_a_refusal_that_passes_is_tried_again(
    page: Page, sidecar: SidecarProcess, nats_server: NatsProcess
) -> None:
    nats_server.process.stop()
    await page.goto(f"{sidecar.url}/?companyId={COMPANY}")
    # The browser gave up after the 503; the client asked why, and goes on by itself.
    await expect(page.locator("#notice")).to_contain_text("NATS is not connected")
    await expect_state(page, "connecting")
    nats_server.process.start()
    await expect_state(page, "live")
    await expect(page.locator("#notice")).to_be_hidden()


@pytest.fixture
def guarded(settings: Settings) -> Iterator[SidecarProcess]:
    """A sidecar with authentication on."""
    with SidecarProcess(settings, CLICKHOUSE_ENABLED="false", JWT_SECRET=SECRET) as process:
        yield process


@pytest.fixture
def token() -> str:
    claims = {"companyId": COMPANY, "sub": "u", "exp": 4_000_000_000}
    return jwt.encode(claims, SECRET, algorithm="HS256")


async def test_a_refusal_that_stays_ends_the_stream_with_the_servers_words(
    page: Page, context: BrowserContext, guarded: SidecarProcess, token: str
) -> None:
    await page.goto(f"{guarded.url}/?companyId={COMPANY}")
    await expect_state(page, "ended")
    await expect(page.get_by_role("alert")).to_contain_text("a token is needed")
    await context.add_cookies([{"name": "analytics_token", "value": token, "url": guarded.url}])
    await page.get_by_role("button", name="Reconnect").click()
    await expect_state(page, "live")
    await expect(page.get_by_role("button", name="Reconnect")).to_be_hidden()


async def test_with_tickets_each_connection_has_a_new_one(
    page: Page, guarded: SidecarProcess, producer: Producer, token: str
) -> None:
    await page.goto(f"{guarded.url}/")
    await page.evaluate(
        """async (token) => {
          const { StreamClient } = await import("/assets/stream-client.js");
          const headers = { Authorization: `Bearer ${token}` };
          globalThis.tickets = [];
          globalThis.values = [];
          globalThis.states = [];
          const getTicket = async () => {
            const answer = await fetch("/stream/ticket", { method: "POST", headers });
            if (!answer.ok) throw new Error(`status ${answer.status}`);
            tickets.push((await answer.json()).ticket);
            return tickets.at(-1);
          };
          const client = new StreamClient({ companyId: "test-company", getTicket });
          client.addEventListener("update", ({ detail }) => values.push(detail.data.n));
          client.addEventListener("state", ({ detail }) => states.push(detail.state));
          client.start();
        }""",
        token,
    )
    await page.wait_for_function("() => states.at(-1) === 'live'")
    await producer.numbers(0, 5)
    await page.wait_for_function("() => values.length >= 5")
    guarded.kill()
    await producer.numbers(5, 10)
    guarded.start()
    await page.wait_for_function("() => values.length >= 10 && states.at(-1) === 'live'")
    assert await page.evaluate("values") == list(range(10))
    used = await page.evaluate("tickets")
    assert len(used) == len(set(used)) >= 2
