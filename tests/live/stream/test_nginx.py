"""The example of `deploy/nginx`, run by the real nginx in front of two sidecars."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from httpx_sse import aconnect_sse
from playwright.async_api import async_playwright

from embedded.ports import free_port
from tests.live.certificate import write_certificate
from tests.live.conftest import temporary_folder
from tests.live.dashboard.conftest import FLAGS, find_browser
from tests.live.producer import Producer
from tests.live.programs import find_program
from tests.live.sidecar import StreamReader
from tests.live.stream.conftest import StartSidecars
from tests.live.waiting import until

EXAMPLE = Path(__file__).parents[3] / "deploy" / "nginx" / "analytics.conf"
# An idle time that a test can wait for; the heartbeat is shorter by as much as in the example.
IDLE_SECONDS = 3.0
HEARTBEAT_SECONDS = 1.2
MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
{user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/analytics.conf;
}}
"""


@contextmanager
def run_nginx(first: str, second: str) -> Iterator[tuple[str, ssl.SSLContext]]:
    """nginx with the example, at other addresses and with a shorter idle time."""
    nginx = find_program("nginx", "nginx-light")
    port = free_port()
    with temporary_folder() as folder:
        write_certificate(folder)
        text = EXAMPLE.read_text()
        for written, here in {
            "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
            "127.0.0.1:3007": first.removeprefix("http://"),
            "127.0.0.1:3008": second.removeprefix("http://"),
            "/etc/ssl/analytics.crt": f"{folder}/analytics.crt",
            "/etc/ssl/analytics.key": f"{folder}/analytics.key",
            "proxy_read_timeout 75s;": f"proxy_read_timeout {IDLE_SECONDS:.0f}s;",
        }.items():
            assert text.count(written) == 1, written
            text = text.replace(written, here)
        (folder / "analytics.conf").write_text(text)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
        process = subprocess.Popen([nginx, "-p", folder, "-c", folder / "nginx.conf"])
        try:
            wait_for_port(port, process)
            context = ssl.create_default_context(cafile=str(folder / "analytics.crt"))
            yield f"https://127.0.0.1:{port}", context
        finally:
            process.terminate()
            process.wait(30)


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until somebody listens there."""
    while True:
        assert process.poll() is None, "nginx has ended; see its words above"
        with socket.socket() as probe:
            probe.settimeout(0.1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)


async def test_events_pass_compressed_and_at_once_and_heartbeats_keep_the_stream_open(
    start_sidecars: StartSidecars, producer: Producer
) -> None:
    sidecars = start_sidecars("stream_api", "stream_api", STREAM_HEARTBEAT_S=str(HEARTBEAT_SECONDS))
    with run_nginx(*(sidecar.url for sidecar in sidecars)) as (url, context):
        async with (
            httpx.AsyncClient(verify=context, timeout=10) as client,
            aconnect_sse(client, "GET", f"{url}/stream/updates?companyId=c") as source,
        ):
            assert source.response.headers["content-encoding"] == "gzip"
            stream = StreamReader(source)
            await stream.until_connected()
            for n in range(20):
                # The next one is published when this one has arrived: a buffer would hold both.
                await producer.publish("c", n=n)
                assert json.loads((await stream.next()).data)["n"] == n
            comments = client.stream("GET", f"{url}/stream/updates?companyId=c")
            async with comments as idle:
                heartbeats = 0
                async for line in idle.aiter_lines():
                    heartbeats += line == ":heartbeat"
                    if heartbeats * HEARTBEAT_SECONDS > 1.5 * IDLE_SECONDS:
                        break
                else:
                    pytest.fail(f"ended after {heartbeats} heartbeats")
            await producer.publish("c", n=20)
            assert json.loads((await stream.next()).data)["n"] == 20


async def test_browser_speaks_http2_and_goes_on_at_the_instance_that_is_left(
    start_sidecars: StartSidecars, producer: Producer
) -> None:
    sidecars = start_sidecars("stream_api", "stream_api", STREAM_HEARTBEAT_S=str(HEARTBEAT_SECONDS))
    with run_nginx(*(sidecar.url for sidecar in sidecars)) as (url, _):
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=find_browser(), args=list(FLAGS)
            )
            page = await browser.new_page(ignore_https_errors=True)
            await page.goto(f"{url}/assets/favicon.svg")
            # More streams than a browser has connections over HTTP/1.1.
            await page.evaluate(
                """() => {
                  globalThis.seen = Array.from({ length: 10 }, () => []);
                  globalThis.live = 0;
                  for (const values of seen) {
                    const source = new EventSource("/stream/updates?companyId=c");
                    source.addEventListener("connected", () => live++);
                    source.addEventListener(
                      "metric_updated", ({ data }) => values.push(JSON.parse(data).n));
                  }
                }"""
            )
            await page.wait_for_function("() => live === 10")
            opened = [
                httpx.get(f"{sidecar.url}/stream/health").json()["streaming"]["activeConnections"]  # noqa: ASYNC210
                for sidecar in sidecars
            ]
            assert sum(opened) == 10
            assert min(opened) >= 3
            await producer.numbers(0, 5, "c")
            await page.wait_for_function("() => seen.every((values) => values.length === 5)")
            assert await asyncio.to_thread(sidecars[0].stop) == 0
            await producer.numbers(5, 10, "c")
            await page.wait_for_function("() => seen.every((values) => values.length >= 10)")
            assert await page.evaluate("seen") == [list(range(10))] * 10
            protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
            assert await page.evaluate(protocol) == "h2"
            await browser.close()
        await until(
            lambda: httpx.get(f"{sidecars[1].url}/stream/health").json()["streaming"],
            lambda streaming: streaming["activeConnections"] == 0,
        )
