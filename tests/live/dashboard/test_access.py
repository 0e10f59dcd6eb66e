"""Names, roles, contrast, keyboard, narrow screens, and a page that holds still."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Page, expect

from tests.live.dashboard.conftest import COMPANY, expect_events, open_live
from tests.live.producer import Producer
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


FITS = """() => [...document.querySelectorAll("body *")]
  .filter((element) => element.checkVisibility() && !element.closest(".skip"))
  .every((element) => element.getBoundingClientRect().right <= innerWidth + 0.5)"""

# The chart repaints in a later frame than the one in which the theme changes.
AXIS_COLOUR = """async (canvas) => {
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const { width, height } = canvas;
  // A copy: reading the chart's own canvas twice makes the browser complain.
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, width, height);
  let [sum, weight] = [0, 0];
  for (let i = 0; i < data.length; i += 4) {
    sum += (data[i] + data[i + 1] + data[i + 2]) * data[i + 3];
    weight += 3 * data[i + 3];
  }
  return Math.round(sum / weight / 8);
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


async def test_text_can_be_read_in_both_themes(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    await show_everything(page, sidecar.url, producer)
    chart = page.locator(".card canvas").first
    drawn = []
    for scheme, ground in (("light", "rgb(244, 246, 245)"), ("dark", "rgb(13, 20, 19)")):
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
        assert await page.evaluate(LOW_CONTRAST) == [], scheme
        drawn.append(await chart.evaluate(AXIS_COLOUR))
    # The charts are painted, not styled, and follow all the same.
    assert drawn[0] != drawn[1]


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
    levels = await page.locator("h1:visible, h2:visible, h3:visible").evaluate_all(
        "(all) => all.map((h) => h.tagName)"
    )
    assert levels == ["H1", "H2", "H3", "H3", "H2"]
    chart = page.locator('.card[data-metric="integration_score"] [role=img]')
    described = "Integration score: last value 1.5, 3 values · 1 to 2"
    await expect(chart).to_have_attribute("aria-label", described)
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


async def test_narrow_screens_need_no_scrolling_to_the_side(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    await show_everything(page, sidecar.url, producer)
    for width in (320, 360, 768, 1024):
        await page.set_viewport_size({"width": width, "height": 760})
        # Charts follow the width by an observer, after the frame that changed it.
        await page.wait_for_function(FITS)
        assert await page.evaluate("document.documentElement.scrollWidth") == width
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
