"""Signing in: by a token that is never in an address, by a cookie, and for how long."""

from __future__ import annotations

import time
from collections.abc import Iterator

import jwt
import pytest
from playwright.async_api import BrowserContext, Page, Request, expect

from config.settings import Settings
from stream_api.auth import CLOCK_SKEW_SECONDS
from tests.live.api import SECRET
from tests.live.dashboard.conftest import COMPANY, expect_events, expect_state, feed_titles
from tests.live.dashboard.test_reconnect import publish_steps, steps
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess


@pytest.fixture
def nats_url(stored: Settings) -> str:
    """The module's NATS server, for the producer."""
    return stored.nats_url.get_secret_value()


@pytest.fixture(scope="module")
def guarded(stored: Settings) -> Iterator[SidecarProcess]:
    """A sidecar with authentication on."""
    with SidecarProcess(stored, CLICKHOUSE_ENABLED="false", JWT_SECRET=SECRET) as process:
        yield process


def make_token(seconds: float, company: str | None = COMPANY, **claims: object) -> str:
    """A token that the server takes for so many seconds."""
    expires = int(time.time() + seconds - CLOCK_SKEW_SECONDS)
    one = {"sub": "ann", "exp": expires, **claims}
    return jwt.encode(one | ({"companyId": company} if company else {}), SECRET, algorithm="HS256")


async def sign_in(page: Page, token: str) -> None:
    await page.get_by_label("Access token").fill(token)
    await page.get_by_role("button", name="Sign in").click()


async def test_a_token_that_runs_out_is_asked_for_again_and_nothing_is_missed(
    page: Page, guarded: SidecarProcess, producer: Producer
) -> None:
    addresses: list[str] = []

    def note(request: Request) -> None:
        addresses.append(request.url)

    page.on("request", note)
    await page.goto(guarded.url)
    await sign_in(page, "no.token")
    message = page.locator("#sign-in-message")
    await expect(message).to_contain_text("no token")
    await sign_in(page, jwt.encode({"exp": 4e9}, "another secret of thirty-two bytes"))
    await expect(message).to_contain_text("not valid")

    first = make_token(15)
    await sign_in(page, first)
    await expect_state(page, "live")
    # The company is the token's, and there is nothing to choose.
    company = page.get_by_label("Company")
    await expect(company).to_have_value(COMPANY)
    await expect(company).not_to_be_editable()
    await publish_steps(producer, 0, 3)
    await expect_events(page, 6)

    await expect_state(page, "ended")
    await expect(message).to_contain_text("expired")
    await publish_steps(producer, 3, 6)
    second = make_token(300)
    await sign_in(page, second)
    await expect_state(page, "live")
    await expect_events(page, 12)
    assert await feed_titles(page) == steps(0, 6)

    await page.reload()
    await expect_state(page, "live")
    await page.get_by_role("button", name="Sign out").click()
    await expect_state(page, "idle")
    assert await page.locator("#feed li").count() == 0
    stored = await page.evaluate("JSON.stringify([sessionStorage, localStorage])")
    assert first not in stored
    assert second not in stored
    tickets = [one for one in addresses if "ticket=" in one]
    assert len(tickets) == len(set(tickets)) >= 3
    assert not any(token in one for one in addresses for token in (first, second))


async def test_an_admin_chooses_among_the_companies(
    page: Page, guarded: SidecarProcess, producer: Producer
) -> None:
    await producer.publish("acme", metricName="a", value=1)
    await page.goto(guarded.url)
    await sign_in(page, make_token(300, None, roles=["system_admin"]))
    await page.get_by_role("button", name="acme").click()
    await expect_state(page, "live")
    await expect(page.get_by_label("Company")).to_be_editable()
    await expect(page.locator("#user")).to_have_text("ann (admin)")


async def test_with_a_cookie_the_page_shows_the_cookies_company(
    page: Page, context: BrowserContext, guarded: SidecarProcess
) -> None:
    cookie = {"name": "analytics_token", "value": make_token(300), "url": guarded.url}
    await context.add_cookies([{**cookie, "httpOnly": True}])  # type: ignore[typeddict-item]
    await page.goto(guarded.url)
    await expect_state(page, "live")
    await expect(page.get_by_label("Company")).to_have_value(COMPANY)
    await expect(page.locator("#sign-in")).to_be_hidden()
