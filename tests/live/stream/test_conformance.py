"""Both ways of answering, read by the parsers that people use, over a network that splits anywhere.

Each client reads the same events, is cut, comes back by itself or by its header, and opens a second
stream by parameter.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from httpx_sse import aconnect_sse
from playwright.async_api import async_playwright

from stream_api.frames import RETRY_MS
from tests.live.conftest import temporary_folder
from tests.live.dashboard.conftest import FLAGS, find_browser
from tests.live.producer import Producer
from tests.live.programs import find_program
from tests.live.sidecar import SidecarProcess
from tests.live.stream.conftest import StartSidecars
from tests.live.stream.splitter import Splitter

NODE = Path(__file__).parent / "node"
CONTROLS = ("connected", "reset", "bye", "message")
DATA_EVENTS = ("metric_updated", "journey_flag_updated", "vis_updated", "sroi_updated")

# What breaks parsers. Each is the text of a member; JSON escapes only what it must.
TEXTS = (
    "Grüße, 世界, 🚀 and e\u0301",
    "line ends that a splitlines() would take: \u2028 \u2029 \u0085 \x0b \x0c \x1c",
    "a field in a payload\r\ndata: bogus\n\nevent: bye\nid: 1\n\n",
    "  : no comment  ",
    "\ufeffa byte order mark",
    "a\x00b",
    "",
)
SUBJECTS = ("metrics.calculated", "journey.flag.updated", "q2q.x", "vis.x", "sroi.x", "metrics.y")
NAMES = (
    "metric_updated", "journey_flag_updated", "vis_updated", "vis_updated", "sroi_updated",
    "metric_updated",
)  # fmt: skip


class Seen(NamedTuple):
    """An event as a client dispatches it."""

    name: str
    data: str
    last_id: str


Seens = asyncio.Queue[Seen]
Open = Callable[[str], AbstractAsyncContextManager[Seens]]


def payloads(company: str) -> list[tuple[str, str, bytes]]:
    """Subject, event name and the producer's bytes."""
    found = []
    for n, text in enumerate(TEXTS):
        member = {"companyId": company, "n": n, "text": text}
        raw = json.dumps(member, ensure_ascii=False).encode()
        found.append((SUBJECTS[n % 6], NAMES[n % 6], raw))
    # Line ends between tokens, as a pretty-printed file has them.
    pretty = json.dumps({"companyId": company, "n": len(TEXTS)}, indent=2).replace("\n", "\r\n")
    found.append(("metrics.pretty", "metric_updated", pretty.encode()))
    head = f'{{"companyId":"{company}","long":"'.encode()
    long = head + "é".encode() * ((250 * 1024 - len(head)) // 2) + b'"}'
    found.append(("metrics.long", "metric_updated", long))
    return found


@asynccontextmanager
async def httpx_client() -> AsyncIterator[Open]:
    """httpx-sse; its caller reconnects, with the header, after the pause that it was told."""

    @asynccontextmanager
    async def open_stream(url: str) -> AsyncIterator[Seens]:
        seen: Seens = asyncio.Queue()

        async def read() -> None:
            last_id, retry = "", 0
            async with httpx.AsyncClient(timeout=30) as client:
                while True:
                    headers = {"Last-Event-ID": last_id} if last_id else {}
                    try:
                        async with aconnect_sse(client, "GET", url, headers=headers) as source:
                            async for event in source.aiter_sse():
                                last_id, retry = event.id or last_id, event.retry or retry
                                if event.data:
                                    await seen.put(Seen(event.event, event.data, last_id))
                    except httpx.TransportError:
                        assert retry == RETRY_MS
                        await asyncio.sleep(retry / 1000)

        task = asyncio.create_task(read())
        try:
            yield seen
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    yield open_stream


@asynccontextmanager
async def chromium_client() -> AsyncIterator[Open]:
    """A headless browser's own EventSource."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))

        @asynccontextmanager
        async def open_stream(url: str) -> AsyncIterator[Seens]:
            seen: Seens = asyncio.Queue()
            page = await browser.new_page()
            try:
                # The same origin as the stream.
                await page.goto(f"{url.partition('/stream')[0]}/assets/favicon.svg")
                await page.expose_function("tell", lambda event: seen.put_nowait(Seen(*event)))
                await page.evaluate(
                    """([url, names]) => {
                      globalThis.source = new EventSource(url);
                      for (const name of names) source.addEventListener(
                        name, ({ type, data, lastEventId }) => tell([type, data, lastEventId]));
                    }""",
                    [url, [*CONTROLS, *DATA_EVENTS]],
                )
                yield seen
            finally:
                await page.close()

        try:
            yield open_stream
        finally:
            await browser.close()


@asynccontextmanager
async def node_client() -> AsyncIterator[Open]:
    """npm's `eventsource`, at the version of the lock file."""
    find_program("node", "nodejs")
    find_program("npm", "npm")
    with temporary_folder() as folder:
        shutil.copytree(NODE, folder / "client")
        install = await asyncio.create_subprocess_exec(
            "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline",
            cwd=folder / "client",
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert await install.wait() == 0, "npm ci failed; is the npm registry reachable?"

        @asynccontextmanager
        async def open_stream(url: str) -> AsyncIterator[Seens]:
            seen: Seens = asyncio.Queue()
            process = await asyncio.create_subprocess_exec(
                "node", "client.mjs", url,
                cwd=folder / "client",
                stdout=asyncio.subprocess.PIPE,
                limit=1 << 20,
            )  # fmt: skip

            async def read() -> None:
                assert process.stdout is not None
                async for line in process.stdout:
                    await seen.put(Seen(*json.loads(line)))

            task = asyncio.create_task(read())
            try:
                yield seen
            finally:
                process.kill()
                await process.wait()
                await task

        yield open_stream


CLIENTS: dict[str, Any] = {
    "httpx": httpx_client,
    "chromium": chromium_client,
    "node": node_client,
}


async def take(seen: Seens, count: int) -> list[Seen]:
    async with asyncio.timeout(30):
        return [await seen.get() for _ in range(count)]


async def read_all(
    open_stream: Open, sidecar: SidecarProcess, producer: Producer, company: str
) -> None:
    sent = payloads(company)
    async with Splitter(sidecar.url) as network:
        url = f"{network.url}/stream/updates?companyId={company}"
        async with open_stream(url) as seen:
            (connected,) = await take(seen, 1)
            assert connected.name == "connected"
            assert json.loads(connected.data)["companyId"] == company
            for subject, _, raw in sent:
                await producer.raw(raw, subject)
            events = await take(seen, len(sent))
            network.cut()
            for n in range(3):
                await producer.publish(company, missed=n)
            missed = await take(seen, 3)
            (again,) = await take(seen, 1)
            await producer.publish(company, last=True)
            live = await take(seen, 1)
            assert seen.empty()
        for event, (_, name, raw) in zip(events, sent, strict=True):
            assert event.name == name
            assert json.loads(event.data) == json.loads(raw)
            assert "\n" not in event.data
        assert [json.loads(event.data)["missed"] for event in missed] == [0, 1, 2]
        assert (again.name, json.loads(again.data)["replayed"]) == ("connected", 3)
        assert network.last_ids == [events[-1].last_id]
        everything = [*events, *missed, *live]
        sequences = [int(event.last_id.split("-")[-2]) for event in everything]
        assert sequences == sorted(set(sequences))
        async with open_stream(f"{url}&lastEventId={everything[1].last_id}") as seen:
            assert await take(seen, len(everything) - 2) == everything[2:]
            assert (await take(seen, 1))[0].name == "connected"


@pytest.mark.parametrize("client", CLIENTS)
async def test_client_reads_what_was_published_and_resumes(
    start_both: StartSidecars, producer: Producer, client: str
) -> None:
    # Many comments between the events; none of them may reach anybody.
    direct, portable = start_both(STREAM_HEARTBEAT_S="0.05")
    async with CLIENTS[client]() as open_stream:
        await asyncio.gather(
            read_all(open_stream, direct, producer, "direct"),
            read_all(open_stream, portable, producer, "portable"),
        )
