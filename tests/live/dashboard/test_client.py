"""The client module on networks that buffer or vanish, and in a tab that stands still."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.async_api import BrowserContext, Page, expect

from config.settings import Settings
from tests.live.dashboard.conftest import (
    expect_events,
    expect_state,
    feed_titles,
    open_live,
)
from tests.live.dashboard.proxy import Proxy
from tests.live.dashboard.test_reconnect import publish_steps, steps
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess


@pytest.fixture
def nats_url(stored: Settings) -> str:
    """The module's NATS server, for the producer."""
    return stored.nats_url.get_secret_value()


@pytest.fixture(scope="module")
def sidecar(stored: Settings) -> Iterator[SidecarProcess]:
    """A sidecar that cuts a reader early, as one with many does."""
    variables = {"CLICKHOUSE_ENABLED": "false", "STREAM_BUFFER_BYTES": "65536"}
    with SidecarProcess(stored, **variables) as process:
        yield process


START_CLIENT = """async (options) => {
  const { StreamClient } = await import("/assets/stream-client.js");
  Object.assign(globalThis, { values: [], states: [] });
  const client = new StreamClient({ companyId: "test-company", ...options });
  client.addEventListener("update", ({ detail }) => values.push(detail.data.n));
  client.addEventListener("state", ({ detail }) => states.push(detail.state));
  client.start();
}"""


async def test_behind_a_proxy_that_buffers_it_polls_until_a_stream_can_be_held(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    async with Proxy(sidecar.url, "collect") as proxy:
        await page.goto(f"{proxy.url}/")
        quick = {"connectTimeoutMs": 1000, "pollEveryMs": 100, "streamAgainMs": 1500}
        await page.evaluate(START_CLIENT, quick)
        await page.wait_for_function("() => states.at(-1) === 'polling'")
        await producer.numbers(0, 50)
        await page.wait_for_function("() => values.length >= 50")
        await producer.numbers(50, 100)
        await page.wait_for_function("() => values.length >= 100")
        assert "live" not in await page.evaluate("states")
        proxy.mode = "pass"
        await page.wait_for_function("() => states.at(-1) === 'live'")
        await producer.numbers(100, 150)
        await page.wait_for_function("() => values.length >= 150")
        assert await page.evaluate("values") == list(range(150))


async def test_the_cable_out_and_in_again_loses_and_doubles_nothing(
    page: Page, context: BrowserContext, sidecar: SidecarProcess, producer: Producer
) -> None:
    await open_live(page, sidecar.url)
    await publish_steps(producer, 0, 5)
    await expect_events(page, 10)
    await context.set_offline(True)
    await expect_state(page, "reconnecting")
    await publish_steps(producer, 5, 10)
    await context.set_offline(False)
    await expect_events(page, 20)
    await expect_state(page, "live")
    assert await feed_titles(page) == steps(0, 10)


async def test_a_network_that_swallows_everything_is_noticed(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    async with Proxy(sidecar.url) as proxy:
        await open_live(page, proxy.url)
        await publish_steps(producer, 0, 5)
        await expect_events(page, 10)
        # Nothing is closed, so the browser itself would look live for minutes.
        proxy.mode = "swallow"
        await publish_steps(producer, 5, 10)
        await expect_state(page, "reconnecting")
        proxy.mode = "pass"
        await expect_events(page, 20)
        assert await feed_titles(page) == steps(0, 10)


async def test_a_tab_that_stood_still_catches_up_in_few_frames(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    await page.add_init_script(
        """globalThis.frames = 0;
        const native = requestAnimationFrame;
        globalThis.requestAnimationFrame = (draw) =>
          native((at) => { globalThis.frames += 1; draw(at); });"""
    )
    await open_live(page, sidecar.url)
    session = await page.context.new_cdp_session(page)
    await session.send("Emulation.setCPUThrottlingRate", {"rate": 6})
    await session.send("Page.setWebLifecycleState", {"state": "frozen"})
    for n in range(4000):
        await producer.publish(metricName="busy", value=n, filler="x" * 400)
    await producer.nats.flush()
    await session.send("Page.setWebLifecycleState", {"state": "active"})
    await expect_events(page, 4000)
    value = page.locator('.card[data-metric="busy"] [data-part=value]')
    await expect(value).to_have_text("3,999")
    assert int(await page.evaluate("frames")) < 1000
