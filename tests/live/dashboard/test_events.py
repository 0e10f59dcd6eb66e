"""Events become tiles, charts and feed lines, and only those of the chosen company."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.live.dashboard.conftest import (
    COMPANY,
    expect_events,
    expect_state,
    feed_titles,
    open_live,
)
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess

# Counts the pixels of a card's chart that have the colour of its line.
LINE_PIXELS = """(card) => {
  const colour = getComputedStyle(card).getPropertyValue("--series").trim();
  const wanted = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const canvas = card.querySelector("canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    const near = (part, at) => Math.abs(data[i + at] - part) < 12;
    if (data[i + 3] > 200 && wanted.every(near)) count += 1;
  }
  return count;
}"""


async def test_a_metric_becomes_a_tile_with_value_change_and_chart(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    await open_live(page, sidecar.url)
    card = page.locator('.card[data-metric="integration_score"]')
    await producer.publish(metricName="integration_score", value=0.8)
    await expect(card.locator("[data-part=value]")).to_have_text("0.8")
    await expect(card.locator("[data-part=change]")).to_have_text("first value")
    await expect(card.locator("h3")).to_have_text("Integration score")

    await producer.publish(metricName="integration_score", value=0.6)
    await expect(card.locator("[data-part=value]")).to_have_text("0.6")
    await expect(card.locator("[data-part=change]")).to_have_text("▼ 0.2 (-25%)")
    for value in (0.7, 0.9, 0.65):
        await producer.publish(metricName="integration_score", value=value)
    await expect(card).to_have_attribute("data-points", "5")
    await expect(card.locator("[data-part=note]")).to_have_text("5 values · 0.6 to 0.9")
    assert await card.evaluate(LINE_PIXELS) > 20

    # The line moves to the left with time, without any event.
    first = await card.locator("canvas").screenshot()
    await page.wait_for_function(
        "(at) => performance.now() > at", arg=await page.evaluate("performance.now() + 3000")
    )
    assert await card.locator("canvas").screenshot() != first


async def test_every_kind_of_event_has_its_place(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    await open_live(page, sidecar.url)
    await producer.publish(subject="metrics.calculated.v2", metricName="sroi_ratio", value=3.4)
    await producer.publish(subject="journey.flag.updated", flag="job_ready", value=True)
    await producer.publish(subject="q2q.completed", dimension="belonging", score=0.734)
    await producer.publish(subject="vis.score.updated", score=74.2, hours=6)
    await producer.raw(
        b'{"type":"sroi","data":{"companyId":"test-company","ratio":3.41,"program":"<b>x</b>"}}',
        "sroi.calculated",
    )
    await expect_events(page, 5)
    assert await feed_titles(page) == ["Job ready", "Belonging 0.734", "Score 74.2", "Ratio 3.41"]
    kinds = await page.locator("#feed [data-part=kind]").all_text_contents()
    assert kinds == ["SROI", "VIS", "Q2Q", "Journey"]
    # What a producer writes is text, never markup.
    await expect(page.locator("#feed li").first).to_contain_text("Program: <b>x</b>")
    await expect(page.locator(".card h3")).to_have_text(["SROI ratio"])


async def test_another_companys_events_are_not_on_the_page(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    await open_live(page, sidecar.url)
    await producer.publish("other-company", metricName="secret", value=1)
    await producer.publish(metricName="own", value=2)
    await expect_events(page, 1)
    assert "secret" not in (await page.content()).lower()


async def test_a_company_is_chosen_from_those_with_events(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    await producer.publish("acme", metricName="a", value=1)
    await page.goto(sidecar.url)
    await expect_state(page, "idle")
    await page.get_by_role("button", name="acme").click()
    await expect_state(page, "live")
    assert page.url.endswith("?companyId=acme")
    await expect(page.locator("#companies option")).to_have_attribute("value", "acme")

    # By keyboard alone: the next company, and back by the browser's history.
    await page.get_by_label("Company").focus()
    await page.keyboard.press("Control+A")
    await page.keyboard.type(COMPANY)
    await page.keyboard.press("Enter")
    await expect_state(page, "live")
    assert page.url.endswith(f"?companyId={COMPANY}")
    await producer.publish(metricName="b", value=1)
    await expect(page.locator(".card h3")).to_have_text(["B"])
    await page.go_back()
    await expect(page.get_by_label("Company")).to_have_value("acme")
    await expect(page.locator(".card")).to_have_count(0)


async def test_the_page_stays_bounded(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    await open_live(page, sidecar.url)
    for n in range(300):
        await producer.publish(subject="journey.flag.updated", flag=f"step {n}", value=True)
    for n in range(30):
        await producer.publish(metricName=f"metric {n}", value=n)
    for n in range(9000):
        await producer.publish(metricName="metric 0", value=n)
    await expect_events(page, 9330)
    await expect(page.locator("#feed li")).to_have_count(60)
    assert (await feed_titles(page))[-1] == "Step 299"
    await expect(page.locator(".card")).to_have_count(24)
    await expect(page.locator("#more")).to_be_visible()
    busy = page.locator('.card[data-metric="metric 0"]')
    await expect(busy).to_have_attribute("data-points", "9001")
    drawn = int((await busy.locator("[data-part=note]").inner_text()).split()[0].replace(",", ""))
    assert 2000 <= drawn <= 4000


async def test_paused_the_page_stands_still_and_loses_nothing(
    page: Page, sidecar: SidecarProcess, producer: Producer
) -> None:
    await open_live(page, sidecar.url)
    await producer.publish(metricName="a", value=1)
    await expect_events(page, 1)
    await page.get_by_role("button", name="Pause").click()
    await producer.publish(metricName="a", value=2)
    # The client has it once its last id is that of the second event.
    await page.wait_for_function(
        "() => Object.values(sessionStorage).some((id) => /^metrics.calculated-2-/.test(id))"
    )
    value = page.locator("[data-part=value]")
    await expect(value).to_have_text("1")
    await page.get_by_role("button", name="Resume").click()
    await expect(value).to_have_text("2")
    await expect_events(page, 2)
