"""Parts of the fault suite: a producer that knows what was accepted, faults, and the proof."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import clickhouse_connect
import httpx
from clickhouse_connect.driver.exceptions import ClickHouseError
from nats.aio.client import Client as Nats
from nats.errors import Error as NatsError

from config.names import EVENTS_STREAM, SINK_CONSUMER
from embedded.child import Child
from tests.live.sidecar import SidecarProcess

SUBJECT = "metrics.calculated"
IN_FLIGHT = 64
ACK_SECONDS = 2.0
RETRY_SECONDS = 0.2
END_SECONDS = 30.0
POLL_SECONDS = 0.2
# What a killed sink held is delivered again after 30 s.
STORED_SECONDS = 90.0
TABLES = ("events", "metrics_timeseries")
Victim = Child | SidecarProcess


class SureProducer:
    """Publishes with JetStream's acknowledgement and an id, again until it has it."""

    def __init__(self, company: str) -> None:
        self.company = company
        self.accepted: dict[int, int] = {}
        self._nats = Nats()

    async def open(self, url: str) -> None:
        await self._nats.connect(
            url,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,  # type: ignore[arg-type]  # seconds, float works
            error_cb=_expected,
        )

    async def close(self) -> None:
        await self._nats.close()

    async def publish(self, count: int) -> None:
        """Publish events `n` in [0, count); returns when the stream has said yes to each."""
        numbers = iter(range(count))
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(self._publish_each(numbers))

    async def plain(self, count: int, padding: int) -> None:
        """Publish as `nats pub` does, so many events with so many bytes more."""
        data = json.dumps({"companyId": self.company, "more": "x" * padding}).encode()
        for _ in range(count):
            await self._nats.publish(SUBJECT, data)
        await self._nats.flush()

    async def _publish_each(self, numbers: Iterator[int]) -> None:
        js = self._nats.jetstream()
        for n in numbers:
            event = {"companyId": self.company, "n": n, "metricName": "m", "value": n}
            data = json.dumps(event).encode()
            while n not in self.accepted:
                try:
                    answer = await js.publish(
                        SUBJECT,
                        data,
                        timeout=ACK_SECONDS,
                        headers={"Nats-Msg-Id": f"{self.company}-{n}"},
                    )
                    self.accepted[n] = answer.seq
                except (NatsError, TimeoutError):
                    await asyncio.sleep(RETRY_SECONDS)


async def _expected(_: Exception) -> None:
    """Outages are what the suite is about."""


async def kill(victim: Victim) -> None:
    """kill -9, and start it anew; everything else goes on meanwhile."""
    if isinstance(victim, SidecarProcess):
        victim.kill()
        await asyncio.to_thread(victim.start, wait_ready=False)
        return
    victim.signal(signal.SIGKILL)
    async with asyncio.timeout(END_SECONDS):
        while victim.running:  # noqa: ASYNC110 - nothing tells when a process has ended
            await asyncio.sleep(0.01)
    victim.start()
    await asyncio.to_thread(victim.wait_ready)


async def freeze(victim: Victim, seconds: float) -> None:
    """SIGSTOP, and SIGCONT after some seconds."""
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        os.kill(victim.pid, signal.SIGCONT)


class Proof:
    """Asks the readers' way whether each accepted event is there exactly once."""

    def __init__(self, clickhouse_port: int, database: str, nats_url: str) -> None:
        self._port = clickhouse_port
        self._database = database
        self._nats_url = nats_url

    async def until_stored(self, producer: SureProducer, seconds: float = STORED_SECONDS) -> float:
        """Wait until the readers see every accepted event, in both tables; returns the seconds.

        At no time may they see one twice, and in the end none that was not accepted.
        """
        begin = time.monotonic()
        wanted = set(producer.accepted.values())
        assert len(wanted) == len(producer.accepted), "the stream has stored an event twice"
        for table in TABLES:
            while True:
                rows = await asyncio.to_thread(self._sequences, table, producer.company)
                seen = set(rows)
                assert len(rows) == len(seen), f"{len(rows) - len(seen)} twice in {table}"
                if len(seen) >= len(wanted):
                    break
                missing = sorted(wanted - seen)
                late = time.monotonic() - begin > seconds
                assert not late, f"{len(missing)} missing in {table}, e.g. {missing[:5]}"
                await asyncio.sleep(POLL_SECONDS)
            assert seen == wanted, f"{sorted(seen - wanted)[:5]} in {table} were not accepted"
        return time.monotonic() - begin

    async def until_acknowledged(self, seconds: float = STORED_SECONDS) -> None:
        """Wait until the sink has nothing left to do."""
        async with asyncio.timeout(seconds):
            while await self.lag():  # noqa: ASYNC110 - only the server knows
                await asyncio.sleep(POLL_SECONDS)

    async def lag(self) -> int:
        """Messages that the sink has not acknowledged."""
        nats = Nats()
        await nats.connect(self._nats_url)
        try:
            info = await nats.jetstream().consumer_info(EVENTS_STREAM, SINK_CONSUMER)
        finally:
            await nats.close()
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    def _sequences(self, table: str, company: str) -> list[int]:
        try:
            client = clickhouse_connect.get_client(
                host="127.0.0.1",
                port=self._port,
                database=self._database,
                autogenerate_session_id=False,
            )
            try:
                column = "toUInt64(splitByChar('-', event_id)[-2])"
                return list(
                    client.query(
                        f"SELECT {column} FROM {table} WHERE company_id = {{c:String}}",
                        {"c": company},
                        settings={"final": 1},
                    ).result_columns[0]
                )
            finally:
                client.close()
        except (ClickHouseError, OSError, IndexError):
            return []


async def until_health(
    sidecar: SidecarProcess, wanted: Callable[[dict[str, Any]], bool], seconds: float = 30
) -> None:
    """Poll `/health` until it says what is wanted."""
    deadline = time.monotonic() + seconds
    async with httpx.AsyncClient(timeout=5) as client:
        while True:
            health = (await client.get(f"{sidecar.url}/health")).json()
            if wanted(health):
                return
            assert time.monotonic() < deadline, f"{health} after {seconds} s"
            await asyncio.sleep(0.05)


class Proxy:
    """A TCP proxy before a server, whose connections can be cut.

    `rewrite` changes what clients send, a read at a time.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._to_clients: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._refuses = False
        self.rewrite: Callable[[bytes], bytes] = _as_it_is
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def cut(self) -> None:
        """Reset every connection; new ones are refused until `mend`."""
        self._refuses = True
        for writer in list(self._writers):
            writer.transport.abort()

    def say_to_clients(self, line: bytes) -> None:
        """Put a line of the protocol into the server's mouth."""
        for writer in self._to_clients:
            writer.write(line)

    def mend(self) -> None:
        self._refuses = False

    def _rewritten(self, data: bytes) -> bytes:
        return self.rewrite(data)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        behind, onward = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers |= {writer, onward}
        self._to_clients.add(writer)
        try:
            await asyncio.gather(_copy(reader, onward, self._rewritten), _copy(behind, writer))
        finally:
            self._writers -= {writer, onward}
            self._to_clients.discard(writer)


def _as_it_is(data: bytes) -> bytes:
    return data


async def _copy(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    rewrite: Callable[[bytes], bytes] = _as_it_is,
) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(rewrite(data))
            await writer.drain()
    except OSError:
        return
    finally:
        writer.transport.abort()
