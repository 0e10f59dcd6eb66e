"""The seam between replay and live, under random interleavings.

The stream and the older history are a list in memory, so that hypothesis can drive thousands of
schedules; the same behaviour on real servers is in `tests/live/stream`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from events.accept import Event, accept
from events.event_id import EventId
from stream_api import channel as channel_module
from stream_api import frames
from stream_api import replay as replay_module
from stream_api.channel import Entry, companies_of
from stream_api.connection import Connection, Ending
from stream_api.history import History, HistoryUnavailableError, Place, in_order
from stream_api.hub import Hub
from stream_api.replay import Replay
from stream_api.telemetry import StreamMetrics

COMPANIES = ("a", "b", "c")
# What the clients read; an admin's names several companies.
READERS = ("a", "b", "a,b", "b,c")
LIFE_MS = 1_700_000_000_000
NEXT_LIFE_MS = 1_000_000
PAGE = 3


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


class ListHistory(History):
    """Stream and warehouse as lists; `read` and its seam between the two are the real ones.

    The sink has committed everything up to `floor`, and perhaps some of what lies above; the
    stream begins at `first`. Every step gives the loop away.
    """

    def __init__(self) -> None:
        self.reading = 0
        self.events: list[Event] = []
        self.lives: dict[int, list[Event]] = {}
        self.recreate(LIFE_MS)

    def recreate(self, life_ms: int) -> None:
        self.life_ms = life_ms
        self.events = self.lives[life_ms] = []
        self.floor = 0
        self.ahead: set[int] = set()
        self.first = 1

    async def read(
        self, company_id: str, after: int, upto: int, life_ms: int
    ) -> AsyncIterator[list[Entry]]:
        self.reading += 1
        try:
            async for entries in super().read(company_id, after, upto, life_ms):
                yield entries
        finally:
            self.reading -= 1

    async def _committed_floor(self) -> int:
        await asyncio.sleep(0)
        return self.floor

    async def _from_warehouse(
        self, company_id: str, after: int, upto: int, life_ms: int
    ) -> AsyncIterator[list[Entry]]:
        # What is of another life has another time, so a query by time does not find it.
        stored = [
            e for e in self.lives[life_ms] if e.id.seq <= self.floor or e.id.seq in self.ahead
        ]
        wanted = [e for e in stored if e.company_id == company_id and after < e.id.seq <= upto]
        for start in range(0, len(wanted), PAGE):
            await asyncio.sleep(0)
            yield [entry(event) for event in wanted[start : start + PAGE]]

    async def _from_stream(
        self, companies: list[str], after: int, upto: int
    ) -> AsyncIterator[list[Entry]]:
        await asyncio.sleep(0)
        if after + 1 < self.first:
            raise HistoryUnavailableError("left the stream before it was stored")
        wanted = [e for e in self.events if e.company_id in companies and after < e.id.seq <= upto]
        for start in range(0, len(wanted), PAGE):
            await asyncio.sleep(0)
            yield [entry(event) for event in wanted[start : start + PAGE]]

    async def find(self, company_id: str, wanted: EventId) -> Place:
        await asyncio.sleep(0)
        if wanted.is_position:
            return Place.HERE
        for event in self.events:
            if event.id == wanted:
                mine = event.company_id in companies_of(company_id)
                return Place.HERE if mine else Place.OTHER_COMPANY
        return Place.UNKNOWN

    async def oldest(self, company_id: str, life_ms: int) -> str | None:
        return None


def entry(event: Event) -> Entry:
    frame = frames.event_frame(event.name, event.payload, str(event.id))
    return Entry(event.id.seq, event.id.ms, event.name, frame)


class Stretch:
    """What a client got without being told of a gap: everything behind `since`."""

    def __init__(self) -> None:
        self.since: EventId | None = None
        self.ids: list[str] = []


class Client:
    """A browser: keeps the ids it has seen and comes back with the last one."""

    def __init__(self, company_id: str) -> None:
        self.company_id = company_id
        self.stretches = [Stretch()]
        self.last_id: str | None = None
        self.connection: ListConnection | None = None
        self.hub: Hub | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def ids(self) -> list[str]:
        return self.stretches[-1].ids

    @property
    def resets(self) -> int:
        return len(self.stretches) - 1

    def digest(self) -> None:
        """Read what has arrived, block by block, as the standard says."""
        assert self.connection is not None
        *blocks, rest = self.connection.received.split(b"\n\n")
        self.connection.received = rest
        for block in blocks:
            members = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
            if members.get(b"event") == b"reset":
                self.stretches.append(Stretch())
            if b"id" in members:
                self.last_id = members[b"id"].decode()
                stretch = self.stretches[-1]
                if b"data" in members:
                    stretch.ids.append(self.last_id)
                elif stretch.since is None:
                    stretch.since = EventId.parse(self.last_id)


class World:
    """Two instances, one stream, some clients. The second instance reads the stream late."""

    def __init__(self) -> None:
        metrics = StreamMetrics(CollectorRegistry())
        self.hubs = [
            Hub(
                metrics=metrics,
                pace_ms=16,
                buffer_bytes=1 << 30,
                stall_seconds=60,
                heartbeat_seconds=30,
            )
            for _ in range(2)
        ]
        self.hub = self.hubs[0]
        self.history = ListHistory()
        self.replays = [
            Replay(hub, self.history, metrics, instance=str(n)) for n, hub in enumerate(self.hubs)
        ]
        self.replay = self.replays[0]
        self.late: list[Event] = []
        self.clients: list[Client] = []
        for hub in self.hubs:
            hub.begin(LIFE_MS, 0, LIFE_MS)

    def publish(self, company_id: str, size: int = 0) -> None:
        seq = len(self.history.events) + 1
        payload = f'{{"companyId":"{company_id}","n":{seq},"pad":"{"x" * size}"}}'
        event = accept("metrics.calculated", seq, self.history.life_ms + seq, payload.encode())
        assert isinstance(event, Event)
        self.history.events.append(event)
        self.hub.publish([event], seq, event.id.ms)
        self.late.append(event)

    def feed(self, count: int) -> None:
        """The second instance reads on."""
        taken, self.late = self.late[:count], self.late[count:]
        if taken:
            self.hubs[1].publish(taken, taken[-1].id.seq, taken[-1].id.ms)

    def recreate(self) -> None:
        """The stream is deleted and made anew: what was in it and not read yet is lost."""
        self.history.recreate(self.history.life_ms + NEXT_LIFE_MS)
        self.late.clear()
        for hub in self.hubs:
            hub.begin(self.history.life_ms, 0, self.history.life_ms)

    def store(self, count: int) -> None:
        """The sink commits the next events, and one batch further on before its turn."""
        history = self.history
        history.floor = min(len(history.events), history.floor + count)
        history.ahead = set(range(history.floor + count, history.floor + 2 * count))

    def trim(self) -> None:
        """The stream drops what the warehouse has; it keeps a day, so no read takes that long."""
        if not self.history.reading:
            self.history.first = self.history.floor + 1

    def connect(self, client: Client, instance: int = 0) -> None:
        if client.task is not None:
            return
        client.connection = ListConnection(client.company_id)
        client.hub = self.hubs[instance]
        client.hub.admit(client.connection)
        client.task = asyncio.get_running_loop().create_task(
            self._serve(client, self.replays[instance])
        )

    async def _serve(self, client: Client, replay: Replay) -> None:
        connection = client.connection
        assert connection is not None
        resume = await replay.resolve(client.company_id, client.last_id)
        async for piece in replay.catch_up(connection, resume):
            connection.write(piece)
            await asyncio.sleep(0)

    async def cut(self, client: Client, lost_bytes: int) -> None:
        """The network is cut: the last bytes never arrive, the client keeps what it had."""
        if client.task is None or client.connection is None:
            return
        client.task.cancel()
        await asyncio.gather(client.task, return_exceptions=True)
        assert client.hub is not None
        client.hub.release(client.connection, Ending.CLIENT_GONE)
        if lost_bytes:
            client.connection.received = client.connection.received[:-lost_bytes]
        client.digest()
        client.connection, client.task = None, None

    async def settle(self) -> None:
        self.feed(len(self.late))
        for client in self.clients:
            self.connect(client)
        await asyncio.gather(*(c.task for c in self.clients if c.task))
        for hub in self.hubs:
            for one in hub.channels():
                one.flush()
        for client in self.clients:
            client.digest()

    def check(self, client: Client) -> None:
        """Each stretch is whole up to its last event, the last one up to now."""
        for stretch in client.stretches:
            if stretch.since is None:
                assert stretch.ids == []
                continue
            life = max(life for life in self.history.lives if life <= stretch.since.ms)
            expected = [
                str(e.id)
                for e in self.history.lives[life]
                if e.company_id in companies_of(client.company_id) and e.id.seq > stretch.since.seq
            ]
            if stretch is not client.stretches[-1]:
                expected = expected[: len(stretch.ids)]
            assert stretch.ids == expected
        assert client.stretches[-1].since is not None
        assert client.stretches[-1].since.ms >= self.history.life_ms


@pytest.fixture
def small_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rings that evict all the time, and seams of a few events."""
    monkeypatch.setattr(channel_module, "RING_EVENTS", 5)
    monkeypatch.setattr(channel_module, "RING_BYTES", 900)
    monkeypatch.setattr(replay_module, "SEAM_BYTES", 300)


def plans(*more: st.SearchStrategy[tuple[str, Any, int]]) -> Any:
    """Interleavings of everything that happens to a stream, and of `more`."""
    return st.lists(
        st.one_of(
            st.tuples(st.just("publish"), st.sampled_from(COMPANIES), st.integers(0, 200)),
            st.tuples(st.just("burst"), st.sampled_from(COMPANIES), st.integers(2, 12)),
            st.tuples(st.just("connect"), st.integers(0, 3), st.integers(0, 1)),
            st.tuples(st.just("cut"), st.integers(0, 3), st.integers(0, 400)),
            st.tuples(st.just("turn"), st.integers(1, 4), st.just(0)),
            st.tuples(st.just("flush"), st.just(0), st.just(0)),
            st.tuples(st.just("feed"), st.integers(1, 20), st.just(0)),
            st.tuples(st.just("store"), st.integers(1, 15), st.just(0)),
            st.tuples(st.just("trim"), st.just(0), st.just(0)),
            *more,
        ),
        min_size=30,
        max_size=120,
    )


@pytest.mark.usefixtures("small_rings")
@settings(max_examples=300, deadline=None)
@given(plans())
def test_every_client_gets_its_companys_exact_sequence(plan: list[tuple[str, Any, int]]) -> None:
    world = asyncio.run(_run(plan))
    for client in world.clients:
        world.check(client)
        assert client.resets == 0
    # Channels of several companies are there as long as a stream for them is.
    for hub in world.hubs:
        joined = {c.company_id for c in hub.channels() if "," in c.company_id}
        assert joined == {c.company_id for c in hub.open if "," in c.company_id}


@pytest.mark.usefixtures("small_rings")
@settings(max_examples=300, deadline=None)
@given(plans(st.tuples(st.just("recreate"), st.just(0), st.just(0))))
def test_over_recreated_streams_every_gap_is_told(plan: list[tuple[str, Any, int]]) -> None:
    world = asyncio.run(_run(plan))
    for client in world.clients:
        world.check(client)


async def _run(plan: list[tuple[str, Any, int]]) -> World:
    world = World()
    world.clients = [Client(reader) for reader in READERS]
    for step, which, amount in plan:
        if step == "publish":
            world.publish(which, amount)
        elif step == "burst":
            for _ in range(amount):
                world.publish(which)
        elif step == "connect":
            world.connect(world.clients[which], amount)
        elif step == "cut":
            await world.cut(world.clients[which], amount)
        elif step == "turn":
            for _ in range(which):
                await asyncio.sleep(0)
        elif step == "flush":
            for one in world.hub.channels():
                one.flush()
        elif step in {"feed", "store"}:
            getattr(world, step)(which)
        else:
            getattr(world, step)()
    await world.settle()
    return world


@given(st.lists(st.lists(st.integers(1, 5), max_size=6), min_size=1, max_size=4))
def test_several_sources_become_one_order(sizes: list[list[int]]) -> None:
    """Batches of any size, dealt out to the sources in turn."""
    dealt: list[list[list[Entry]]] = [[] for _ in sizes]
    seq = 0
    for turn in range(6):
        for source, batches in zip(dealt, sizes, strict=True):
            if turn < len(batches):
                source.append([])
        for _ in range(5):
            for source, batches in zip(dealt, sizes, strict=True):
                if turn < len(batches) and len(source[turn]) < batches[turn]:
                    seq += 1
                    source[turn].append(Entry(seq, seq, "", b""))

    async def read(source: list[list[Entry]]) -> AsyncIterator[list[Entry]]:
        for batch in source:
            yield batch

    async def merge() -> list[int]:
        return [e.seq async for batch in in_order([read(s) for s in dealt]) for e in batch]

    assert asyncio.run(merge()) == list(range(1, seq + 1))


async def test_a_stream_that_ended_while_it_caught_up_does_not_go_live() -> None:
    world = World()
    for _ in range(3):
        world.publish("a")
    world.hub.channel("a").forget(3)
    connection = ListConnection("a,b")
    world.hub.admit(connection)
    resume = await world.replay.resolve("a,b", str(world.history.events[0].id))
    async for _ in world.replay.catch_up(connection, resume):
        world.hub.end(connection, Ending.DRAIN)
    assert not connection.attached
    assert [c for one in world.hub.channels() for c in one.connections()] == []
    assert connection.received.endswith(b'event: bye\ndata: {"reason":"drain"}\n\n')


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


async def test_an_id_of_a_life_that_an_instance_does_not_know_yet_waits_for_it() -> None:
    world = World()
    for _ in range(5):
        world.publish("a")
    world.feed(5)
    first, second = world.hubs
    world.history.recreate(LIFE_MS + NEXT_LIFE_MS)
    first.begin(world.history.life_ms, 0, world.history.life_ms)
    for _ in range(3):
        world.publish("a")
    client = Client("a")
    client.last_id = str(world.history.events[1].id)
    world.clients = [client]
    world.connect(client, instance=1)
    await asyncio.sleep(0)
    second.begin(world.history.life_ms, 0, world.history.life_ms)
    await world.settle()
    assert client.resets == 0
    assert client.ids == [str(world.history.events[2].id)]


async def test_a_stream_recreated_while_an_id_is_looked_up_is_told() -> None:
    world = World()
    for _ in range(3):
        world.publish("a")
    world.hub.channel("a").forget(3)
    position = str(EventId.position(1, LIFE_MS + 1))
    looking = asyncio.create_task(world.replay.resolve("a", position))
    await asyncio.sleep(0)
    world.recreate()
    for _ in range(2):
        world.publish("a")
    connection = ListConnection("a")
    world.hub.admit(connection)
    async for piece in world.replay.catch_up(connection, await looking):
        connection.write(piece)
    assert b'event: reset\ndata: {"reason":"other_stream"' in connection.received
    assert b"id: metrics" not in connection.received


@pytest.mark.usefixtures("small_rings")
async def test_a_recreated_stream_begins_with_an_empty_ring_of_full_size() -> None:
    world = World()
    channel = world.hub.channel("a")
    for _ in range(3):
        for _ in range(5):
            world.publish("a")
        assert [e.seq for e in channel.ring] == [1, 2, 3, 4, 5]
        world.recreate()
        assert (list(channel.ring), channel.floor) == ([], 0)


async def test_a_lone_event_goes_out_at_once_and_a_burst_in_one_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    client = Client("a")
    world.clients = [client]
    await world.settle()
    assert client.connection is not None
    writes: list[int] = []
    all_written = asyncio.Event()

    def write(data: bytes) -> None:
        writes.append(data.count(b"\nid: "))
        if sum(writes) == 6:
            all_written.set()

    client.connection.write = write  # type: ignore[method-assign]
    # However long this takes, it is within a frame.
    now = time.monotonic()
    monkeypatch.setattr("stream_api.channel.time.monotonic", lambda: now)
    world.publish("a")
    assert writes == [1]
    for _ in range(5):
        world.publish("a")
    monkeypatch.undo()
    async with asyncio.timeout(30):
        await all_written.wait()
    assert writes == [1, 5]
