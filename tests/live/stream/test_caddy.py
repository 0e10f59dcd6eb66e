"""The example of `deploy/caddy`, run by the real Caddy in front of two sidecars."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from httpx_sse import aconnect_sse

from embedded.ports import free_port
from tests.live.certificate import write_certificate
from tests.live.conftest import temporary_folder
from tests.live.producer import Producer
from tests.live.programs import find_program
from tests.live.sidecar import StreamReader, until_read
from tests.live.stream.conftest import StartSidecars
from tests.live.stream.test_nginx import HEARTBEAT_SECONDS, IDLE_SECONDS, wait_for_port
from tests.live.waiting import until

EXAMPLE = Path(__file__).parents[3] / "deploy" / "caddy" / "Caddyfile"
# No administration, no request for a certificate, and no long wait for streams when it is stopped.
GLOBAL = "{\n\tadmin off\n\tauto_https off\n\tgrace_period 1s\n}\n"


@contextmanager
def run_caddy(first: str, second: str) -> Iterator[tuple[str, ssl.SSLContext]]:
    """Caddy with the example, at other addresses and with a shorter idle time."""
    caddy = find_program("caddy", "caddy")
    port = free_port()
    with temporary_folder() as folder:
        write_certificate(folder)
        text = EXAMPLE.read_text()
        for written, here in {
            "analytics.example.com {": f"https://127.0.0.1:{port} {{\n"
            f"\ttls {folder}/analytics.crt {folder}/analytics.key",
            "127.0.0.1:3007 127.0.0.1:3008": f"{first.removeprefix('http://')} "
            f"{second.removeprefix('http://')}",
            "read_timeout 75s": f"read_timeout {IDLE_SECONDS:.0f}s",
        }.items():
            assert text.count(written) == 1, written
            text = text.replace(written, here)
        (folder / "Caddyfile").write_text(GLOBAL + text)
        process = subprocess.Popen(
            [caddy, "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"],
            # It keeps what it likes in a home.
            env={**os.environ, "HOME": str(folder)},
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for_port(port, process)
            context = ssl.create_default_context(cafile=str(folder / "analytics.crt"))
            yield f"https://127.0.0.1:{port}", context
        finally:
            process.terminate()
            process.wait(30)


async def test_events_pass_at_once_figures_are_compressed_and_an_instance_may_go(
    start_sidecars: StartSidecars, producer: Producer
) -> None:
    sidecars = start_sidecars("stream_api", "stream_api", STREAM_HEARTBEAT_S=str(HEARTBEAT_SECONDS))
    with run_caddy(*(sidecar.url for sidecar in sidecars)) as (url, context):
        address = f"{url}/stream/updates?companyId=c"
        async with httpx.AsyncClient(verify=context, timeout=10) as client:
            async with aconnect_sse(client, "GET", address) as source:
                assert "content-encoding" not in source.response.headers
                assert source.response.headers["x-request-id"]
                stream = StreamReader(source)
                await stream.until_connected()
                for n in range(20):
                    # The next one is published when this one has arrived: a buffer would hold both.
                    await producer.publish("c", n=n)
                    assert json.loads((await stream.next()).data)["n"] == n
                last_id = stream.last_id
            async with client.stream("GET", address) as idle:
                heartbeats = 0
                async for line in idle.aiter_lines():
                    heartbeats += line == ":heartbeat"
                    if heartbeats * HEARTBEAT_SECONDS > 1.5 * IDLE_SECONDS:
                        break
                else:
                    pytest.fail(f"ended after {heartbeats} heartbeats")
            schema = await client.get(f"{url}/openapi.json")
            assert schema.headers["content-encoding"] == "gzip"
            assert await asyncio.to_thread(sidecars[0].stop) == 0
            await producer.numbers(20, 25, "c")
            await until_read(sidecars[1].url, 25)
            # The one that is gone is noticed by a health check or by the request itself.
            headers = {"Last-Event-ID": last_id}
            async with aconnect_sse(client, "GET", address, headers=headers) as source:
                stream = StreamReader(source)
                numbers = [json.loads(event.data)["n"] for event in await stream.take(5)]
                assert numbers == list(range(20, 25))
        await until(
            lambda: httpx.get(f"{sidecars[1].url}/stream/health").json()["streaming"],
            lambda streaming: streaming["activeConnections"] == 0,
        )
