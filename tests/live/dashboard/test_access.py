"""Names, roles, contrast, keyboard, narrow screens, and a page that holds still."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.live.dashboard.conftest import COMPANY, Producer, expect_events, open_live
from tests.live.sidecar import SidecarProcess

NAMED_ROLES = {
    "RootWebArea", "button", "combobox", "textbox", "radio", "img", "image", "log", "region",
    "link", "article", "group",
}  # fmt: skip

# Contrast of every visible text against what is painted behind it (WCAG 2.2, 1.4.3). A canvas
# does the blending, because the style sheet mixes colours.
LOW_CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const paint = (colours) => {
    context.clearRect(0, 0, 1, 1);
    for (const colour of colours) {
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
    }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const low = [];
  for (const element of document.body.querySelectorAll("*")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const style = getComputedStyle(element);
    if (!text || !element.checkVisibility() || style.clipPath !== "none") continue;
    const behind = [];
    for (let at = element; at; at = at.parentElement) {
      behind.unshift(getComputedStyle(at).backgroundColor);
    }
    const [ground, ink] = [paint(behind), paint([...behind, style.color])].map(luminance);
    const ratio = (Math.max(ground, ink) + 0.05) / (Math.min(ground, ink) + 0.05);
    if (ratio < 4.5) low.push(`${element.className || element.id || element.tagName} ${ratio}`);
  }
  return low;
}"""


async def show_everything(page: Page, url: str, producer: Producer) -> None:
    await open_live(page, url)
    for value in (1, 2, 1.5):
        await producer.publish(metricName="integration_score", value=value)
        await producer.publish(
            metricName="a_metric_with_a_rather_long_name_indeed", value=-1e9 * value
        )
    for subject in ("journey.flag.updated", "q2q.scored", "vis.updated", "sroi.calculated"):
        await producer.publish(subject=subject, score=1, note="unbroken" * 10)
    await expect_events(page, 10)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_can_be_read_in_both_themes(
    page: Page, sidecar: SidecarProcess, producer: Producer, scheme: str
) -> None:
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await show_everything(page, sidecar.url, producer)
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(13, 20, 19)") == (scheme == "dark")
    assert await page.evaluate(LOW_CONTRAST) == []


async def test_everything_has_a_name_and_the_headings_are_in_order(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    await show_everything(page, sidecar.url, producer)
    session = await page.context.new_cdp_session(page)
    tree: dict[str, Any] = await session.send("Accessibility.getFullAXTree")
    nodes = [node for node in tree["nodes"] if not node["ignored"]]
    roles = [node["role"]["value"] for node in nodes]
    nameless = [
        node["role"]["value"]
        for node in nodes
        if node["role"]["value"] in NAMED_ROLES - {"article"}
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []
    for wanted in ("main", "banner", "status", "log", "combobox", "radio"):
        assert wanted in roles, wanted
    levels = await page.locator("h1, h2, h3").evaluate_all("(all) => all.map((h) => h.tagName)")
    assert levels == ["H1", "H2", "H3", "H3", "H2"]
    chart = page.locator('.card[data-metric="integration_score"] [role=img]')
    await expect(chart).to_have_attribute(
        "aria-label", r"Integration score: last value 1, 1 value · all 1"
    )
    # The connection is announced; items of the feed are not, or nothing else could be heard.
    assert await page.locator("#feed").get_attribute("aria-live") == "off"


async def test_every_control_is_reached_and_worked_by_keyboard(
    page: Page, sidecar: SidecarProcess
) -> None:
    await open_live(page, sidecar.url)
    reached = []
    for _ in range(6):
        await page.keyboard.press("Tab")
        reached.append(
            await page.evaluate(
                "(({ id, name, textContent }) => id || name || textContent)(document.activeElement)"
            )
        )
    assert reached == ["Skip to the metrics", "company", "Watch", "window", "pause", "feed"]
    await page.locator("#window input").first.focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("radio", name="5 min")).to_be_checked()


@pytest.mark.parametrize("width", [320, 360, 768, 1024])
async def test_narrow_screens_need_no_scrolling_to_the_side(
    browser: Browser, sidecar: SidecarProcess, producer: Producer, width: int
) -> None:
    async with await browser.new_context(viewport={"width": width, "height": 760}) as context:
        page = await context.new_page()
        await show_everything(page, sidecar.url, producer)
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        overflowing = await page.evaluate(
            """() => [...document.querySelectorAll("body *")]
              .filter((e) => e.checkVisibility() && !e.closest(".skip"))
              .filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5)
              .map((e) => e.className || e.id || e.tagName)"""
        )
        assert overflowing == []
        for button in await page.locator("button:visible").all():
            box = await button.bounding_box()
            assert box is not None
            assert box["height"] >= 36


async def test_new_events_and_metrics_move_nothing_that_is_there(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    await open_live(page, sidecar.url)
    await producer.publish(metricName="a", value=1)
    await expect_events(page, 1)
    parts = [page.locator(name) for name in (".strip", ".card >> nth=0", "#feed", "#connection")]
    before = [await part.bounding_box() for part in parts]
    for value in (0.123456, 123456.789, -98765432.1):
        await producer.publish(metricName="a", value=value)
        await producer.publish(metricName=f"b{value}", value=value)
        await producer.publish(subject="journey.flag.updated", flag="a long flag " * 5, value=True)
    await expect_events(page, 10)
    assert [await part.bounding_box() for part in parts] == before


async def test_the_company_in_the_address_is_only_ever_text(
    page: Page, sidecar: SidecarProcess
) -> None:
    await page.goto(f"{sidecar.url}/?companyId=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    await expect(page.locator("#connection")).to_have_attribute("data-state", "ended")
    await expect(page.get_by_role("alert")).to_contain_text("companyId")
    assert await page.locator("img").count() == 1
    assert COMPANY not in await page.content()
