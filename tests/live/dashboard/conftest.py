"""A real browser on the dashboard of a real sidecar."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from config.settings import Settings
from tests.live.conftest import Backend, own_settings, running_nats
from tests.live.sidecar import SidecarProcess

COMPANY = "test-company"
CANDIDATES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# A reconnect waits for the browser's own pause of two seconds; a loaded machine for more.
PATIENCE_MS = 30_000


def find_browser() -> str:
    """Path of a Chromium: $CHROMIUM, else what is on PATH; a test run without one has failed."""
    for name in (os.environ.get("CHROMIUM"), *CANDIDATES):
        if name and (found := shutil.which(name)):
            return found
    pytest.fail("no Chromium: install Debian's package chromium, or set CHROMIUM to one")


@pytest.fixture
def sidecar(settings: Settings) -> Iterator[SidecarProcess]:
    """A running sidecar without the warehouse, which no part of the page needs."""
    with SidecarProcess(settings, CLICKHOUSE_ENABLED="false") as process:
        yield process


@pytest.fixture(scope="module")
def stored(backend: Backend) -> Iterator[Settings]:
    """Settings of one system that the tests of a module share."""
    with running_nats() as nats, own_settings(backend, nats.url) as settings:
        yield settings


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        one = await playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        try:
            yield one
        finally:
            await one.close()


@pytest.fixture
async def context(browser: Browser, faults: list[str]) -> AsyncIterator[BrowserContext]:
    """A window of its own, which collects what goes wrong in its pages."""
    async with await browser.new_context(viewport={"width": 1280, "height": 860}) as one:
        one.set_default_timeout(PATIENCE_MS)
        one.on("weberror", lambda error: faults.append(str(error.error)))
        one.on(
            "console",
            # A refused connection is logged by the browser, and some tests refuse on purpose.
            lambda line: (
                faults.append(line.text)
                if line.type in {"error", "warning"} and "Failed to load resource" not in line.text
                else None
            ),
        )
        yield one


@pytest.fixture
def faults() -> Iterator[list[str]]:
    """Script errors and violations of the content security policy: there must be none."""
    found: list[str] = []
    yield found
    expected = ("net::ERR_", "EventSource")
    assert [text for text in found if not any(word in text for word in expected)] == []


@pytest.fixture
async def page(context: BrowserContext) -> Page:
    """An empty page."""
    return await context.new_page()


async def open_live(page: Page, url: str, company: str = COMPANY) -> None:
    """Open the dashboard of a company and wait until it is live."""
    await page.goto(f"{url}/?companyId={company}")
    await expect_state(page, "live")


async def expect_state(page: Page, state: str) -> None:
    """Wait for a connection state."""
    await expect(page.locator("#connection")).to_have_attribute("data-state", state)


async def expect_events(page: Page, count: int) -> None:
    """Wait until the page has counted this many events; one too many is a failure as well."""
    await expect(page.locator("#main")).to_have_attribute("data-events", str(count))


async def feed_titles(page: Page) -> list[str]:
    """Titles of the feed in the order of the events, oldest first."""
    return list(reversed(await page.locator("#feed [data-part=title]").all_text_contents()))
