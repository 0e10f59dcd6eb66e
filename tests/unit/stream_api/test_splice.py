"""The seam between replay and live, under random interleavings.

The stream and the older history are a list in memory, so that hypothesis can drive thousands of
schedules; the same behaviour on real servers is in `tests/live/stream`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from stream_api import channel as channel_module
from stream_api import frames
from stream_api import replay as replay_module
from stream_api.channel import Entry
from stream_api.connection import Connection, Ending
from stream_api.event_id import EventId
from stream_api.events import Event, accept
from stream_api.history import History, Place
from stream_api.hub import Hub
from stream_api.replay import Replay
from stream_api.telemetry import StreamMetrics

COMPANIES = ("a", "b")
LIFE_MS = 1_700_000_000_000


class ListConnection(Connection):
    """Keeps what it is sent. `lost` is what a network cut throws away."""

    def __init__(self, company_id: str) -> None:
        super().__init__(company_id, None)
        self.received = b""

    def write(self, data: bytes) -> None:
        self.received += data

    def unsent_bytes(self) -> int:
        return 0

    def finish(self, farewell: bytes) -> None:
        self.received += farewell

    def abort(self) -> None:
        self.ended = self.ended or Ending.SLOW


class ListHistory:
    """The whole stream in memory; gives the loop away between two batches."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.life_ms = LIFE_MS

    async def read(
        self, company_id: str, after: int, upto: int, life_ms: int
    ) -> AsyncIterator[list[Entry]]:
        wanted = [e for e in self.events if e.company_id == company_id and after < e.id.seq <= upto]
        for event in wanted:
            await asyncio.sleep(0)
            if self.life_ms != life_ms:
                return
            frame = frames.event_frame(event.name, event.payload, str(event.id))
            yield [Entry(event.id.seq, event.id.ms, event.name, frame)]
        await asyncio.sleep(0)

    async def find(self, company_id: str, wanted: EventId) -> Place:
        await asyncio.sleep(0)
        if wanted.is_position:
            return Place.HERE
        for event in self.events:
            if event.id == wanted:
                return Place.HERE if event.company_id == company_id else Place.OTHER_COMPANY
        return Place.UNKNOWN

    async def oldest(self, company_id: str, life_ms: int) -> str | None:
        return None


class Client:
    """A browser: keeps the ids it has seen and comes back with the last one."""

    def __init__(self, company_id: str) -> None:
        self.company_id = company_id
        self.ids: list[str] = []
        self.last_id: str | None = None
        self.since: int | None = None  # it must have everything behind this sequence
        self.connection: ListConnection | None = None
        self.task: asyncio.Task[None] | None = None
        self.resets = 0

    def digest(self) -> None:
        """Read what has arrived, block by block, as the standard says."""
        assert self.connection is not None
        *blocks, rest = self.connection.received.split(b"\n\n")
        self.connection.received = rest
        for block in blocks:
            members = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
            if members.get(b"event") == b"reset":
                self.resets += 1
            if b"id" in members:
                self.last_id = members[b"id"].decode()
                if b"data" in members:
                    self.ids.append(self.last_id)
                elif self.since is None:
                    point = EventId.parse(self.last_id)
                    assert point is not None
                    self.since = point.seq


class World:
    """One hub, one stream, some clients."""

    def __init__(self) -> None:
        metrics = StreamMetrics(CollectorRegistry())
        self.hub = Hub(
            metrics=metrics,
            pace_ms=16,
            buffer_bytes=1 << 30,
            stall_seconds=60,
            heartbeat_seconds=30,
        )
        self.history = ListHistory()
        self.replay = Replay(self.hub, cast(History, self.history), metrics, instance="test")
        self.seq = 0
        self.clients: list[Client] = []
        self.hub.begin(LIFE_MS, 0, LIFE_MS)

    def publish(self, company_id: str, size: int = 0) -> None:
        self.seq += 1
        payload = f'{{"companyId":"{company_id}","n":{self.seq},"pad":"{"x" * size}"}}'
        event = accept("metrics.calculated", self.seq, LIFE_MS + self.seq, payload.encode())
        assert isinstance(event, Event)
        self.history.events.append(event)
        self.hub.publish(event)

    def connect(self, client: Client) -> None:
        if client.task is not None:
            return
        client.connection = ListConnection(client.company_id)
        self.hub.admit(client.connection)
        client.task = asyncio.get_running_loop().create_task(self._serve(client))

    async def _serve(self, client: Client) -> None:
        connection = client.connection
        assert connection is not None
        resume = await self.replay.resolve(client.company_id, client.last_id)
        async for piece in self.replay.catch_up(connection, resume):
            connection.write(piece)
            await asyncio.sleep(0)

    async def cut(self, client: Client, lost_bytes: int) -> None:
        """The network is cut: the last bytes never arrive, the client keeps what it had."""
        if client.task is None or client.connection is None:
            return
        client.task.cancel()
        await asyncio.gather(client.task, return_exceptions=True)
        self.hub.release(client.connection, Ending.CLIENT_GONE)
        if lost_bytes:
            client.connection.received = client.connection.received[:-lost_bytes]
        client.digest()
        client.connection, client.task = None, None

    async def settle(self) -> None:
        for client in self.clients:
            self.connect(client)
        await asyncio.gather(*(c.task for c in self.clients if c.task))
        for one in self.hub.channels():
            one.flush()
        for client in self.clients:
            client.digest()

    def expected(self, client: Client) -> list[str]:
        assert client.since is not None
        return [
            str(e.id)
            for e in self.history.events
            if e.company_id == client.company_id and e.id.seq > client.since
        ]


@pytest.fixture
def small_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rings that evict all the time, and seams of a few events."""
    monkeypatch.setattr(channel_module, "RING_EVENTS", 5)
    monkeypatch.setattr(replay_module, "SEAM_BYTES", 300)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(COMPANIES), st.integers(0, 200)),
        st.tuples(st.just("burst"), st.sampled_from(COMPANIES), st.integers(2, 12)),
        st.tuples(st.just("connect"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("cut"), st.integers(0, 3), st.integers(0, 400)),
        st.tuples(st.just("turn"), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("flush"), st.just(0), st.just(0)),
    ),
    min_size=30,
    max_size=120,
)


@pytest.mark.usefixtures("small_rings")
@settings(max_examples=300, deadline=None)
@given(steps)
def test_every_client_gets_its_companys_exact_sequence(plan: list[tuple[str, Any, int]]) -> None:
    asyncio.run(_run(plan))


async def _run(plan: list[tuple[str, Any, int]]) -> None:
    world = World()
    world.clients = [Client(COMPANIES[n % 2]) for n in range(4)]
    for step, which, amount in plan:
        if step == "publish":
            world.publish(which, amount)
        elif step == "burst":
            for _ in range(amount):
                world.publish(which)
        elif step == "connect":
            world.connect(world.clients[which])
        elif step == "cut":
            await world.cut(world.clients[which], amount)
        elif step == "turn":
            for _ in range(which):
                await asyncio.sleep(0)
        else:
            for one in world.hub.channels():
                one.flush()
    await world.settle()
    for client in world.clients:
        assert client.ids == world.expected(client)
        assert client.resets == 0


async def test_another_companys_id_is_answered_by_reset() -> None:
    world = World()
    world.publish("a")
    client = Client("b")
    client.last_id = str(world.history.events[0].id)
    world.clients = [client]
    await world.settle()
    assert client.resets == 1
    world.publish("b")
    for one in world.hub.channels():
        one.flush()
    client.digest()
    assert client.ids == [str(world.history.events[1].id)]


async def test_an_id_of_a_recreated_stream_is_answered_by_reset() -> None:
    world = World()
    for _ in range(3):
        world.publish("a")
    client = Client("a")
    client.last_id = str(world.history.events[1].id)
    world.hub.begin(LIFE_MS + 1000, 0, LIFE_MS + 1000)
    world.clients = [client]
    await world.settle()
    assert (client.resets, client.ids) == (1, [])


async def test_a_lone_event_goes_out_in_the_same_turn_and_a_burst_in_one_write() -> None:
    world = World()
    client = Client("a")
    world.clients = [client]
    await world.settle()
    assert client.connection is not None
    writes: list[int] = []
    client.connection.write = lambda data: writes.append(data.count(b"\nid: "))  # type: ignore[method-assign]
    world.publish("a")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert writes == [1]
    for _ in range(5):
        world.publish("a")
    await asyncio.sleep(0.1)
    assert writes == [1, 5]
