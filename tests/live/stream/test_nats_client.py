"""Direct subscriptions over the connections that NATS_URL may name, through a server's restart.

`NatsClient` leans on internals of nats-py: a new version of it has to pass here first.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

from embedded.child import Child
from embedded.nats import HOST, binary
from embedded.part import Part
from embedded.ports import free_port
from stream_api.delivery import parse_delivery
from stream_api.nats_client import NatsClient
from stream_api.wire import Status, WireMessage
from tests.live.certificate import write_certificate

PAYLOADS = [b"%d " % n + b"x" * (n * 997 % 300_000) for n in range(60)]
SECONDS = 20.0


class Kept:
    """A reader that keeps all payloads, in order, and can be waited for."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.statuses: list[str] = []
        self._came = asyncio.Event()

    def on_messages(self, messages: list[WireMessage]) -> None:
        for _, reply, payload in messages:
            self.payloads.append(payload)
            assert parse_delivery(reply).consumer_seq == len(self.payloads)
        self._came.set()

    def on_status(self, status: Status) -> None:
        self.statuses.append(status.code)
        self._came.set()

    async def wait_for(self, payloads: int, statuses: int = 0) -> None:
        async with asyncio.timeout(SECONDS):
            while len(self.payloads) < payloads or len(self.statuses) < statuses:
                self._came.clear()
                await self._came.wait()


LINES = {
    "token": ['authorization { token: "t0ken" }'],
    "tls": [
        'authorization { user: "u", password: "p" }',
        'tls { cert_file: "analytics.crt", key_file: "analytics.key" }',
    ],
}
LOGINS = {"token": "t0ken@", "tls": "u:p@"}


@pytest.fixture(params=sorted(LINES))
async def server(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Child, str]]:
    """A server that wants a login, and one URL list for it: the first of the two is dead."""
    port = free_port()
    write_certificate(tmp_path)
    lines = [
        f'listen: "{HOST}:{port}"',
        f'jetstream {{ store_dir: "{tmp_path}/nats" }}',
        *(line.replace('_file: "', f'_file: "{tmp_path}/') for line in LINES[request.param]),
    ]
    configuration = tmp_path / "nats.conf"
    configuration.write_text("\n".join(lines))
    part = Part(
        name="nats",
        command=(str(binary()), "-c", str(configuration)),
        ready=lambda: _listens(port),
    )
    child = Child(part, tmp_path, os.environ)
    child.start()
    child.wait_ready()
    login = LOGINS[request.param]
    yield child, f"nats://{login}{HOST}:{free_port()},nats://{login}{HOST}:{port}"
    child.stop()


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


async def test_nothing_is_lost_or_mixed_up_through_login_tls_and_a_restart(
    server: tuple[Child, str], tmp_path: Path
) -> None:
    child, urls = server
    nats, back, reader = NatsClient(), asyncio.Event(), Kept()

    async def reconnected() -> None:
        back.set()

    await nats.connect(
        urls.split(","),
        dont_randomize=True,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,  # type: ignore[arg-type]
        reconnected_cb=reconnected,
        tls=ssl.create_default_context(cafile=str(tmp_path / "analytics.crt")),
    )
    js = nats.jetstream()
    await js.add_stream(StreamConfig(name="S", subjects=["s.>"]))
    inbox = nats.new_inbox()
    await nats.subscribe_direct(inbox, reader)
    await js.add_consumer(
        "S",
        ConsumerConfig(
            durable_name="c", deliver_subject=inbox, ack_policy=AckPolicy.NONE, idle_heartbeat=0.5
        ),
    )
    # Answers to requests come between the messages, through nats-py.
    for payload in PAYLOADS:
        headers = {"Nats-Msg-Id": str(len(payload))} if len(payload) % 2 else None
        await js.publish("s.a", payload, headers=headers)
    await reader.wait_for(len(PAYLOADS), statuses=1)
    child.stop()
    child.start()
    async with asyncio.timeout(SECONDS):
        await back.wait()
    for payload in PAYLOADS:
        await js.publish("s.b", payload)
    await reader.wait_for(2 * len(PAYLOADS))
    await nats.close()
    assert reader.payloads == PAYLOADS * 2
    assert set(reader.statuses) == {"100"}
