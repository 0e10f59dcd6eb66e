"""Each way that a stream ends, on both ways of answering: named to the client, counted, final."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from functools import partial

import httpx
import psutil
import psycopg
import pytest

from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess, open_stream
from tests.live.stream.conftest import StartSidecars
from tests.live.stream.test_auth import SECRET, token
from tests.live.stream.unread import UnreadStream, closed
from tests.live.waiting import until

LARGE = "x" * 240_000


async def ending(sidecar: SidecarProcess, reason: str, count: int = 1) -> None:
    """Wait until so many streams have ended for that reason, and none for another."""
    counted = await until(lambda: closed(sidecar.url), lambda c: sum(c.values()) >= count)
    assert counted == {reason: count}


def sockets(sidecar: SidecarProcess) -> int:
    """Connections that the sidecar still holds at its own port."""
    port = int(sidecar.url.rpartition(":")[2])
    return sum(
        one.laddr.port == port and one.status != psutil.CONN_LISTEN
        for one in psutil.Process(sidecar.pid).net_connections("tcp")
    )


async def test_slow_reader_is_cut_alone_and_resumes_by_its_last_id(
    start_both: StartSidecars, producer: Producer
) -> None:
    for number, sidecar in enumerate(start_both(STREAM_BUFFER_BYTES="65536")):
        company = f"company-{number}"
        unread = await asyncio.to_thread(UnreadStream, sidecar.url, f"companyId={company}")
        async with open_stream(sidecar.url, company) as reader:
            await reader.until_connected()
            events = []
            # The portable path's kernel buffer is not ours to bound: 2.6 MB on loopback.
            for n in range(25):
                await producer.publish(company, n=n, pad="" if n < 3 else LARGE)
                events.append(await reader.next())
            await ending(sidecar, "slow")
            had = await asyncio.to_thread(unread.ids)
        assert had == [event.id for event in events[: len(had)]]
        assert 3 <= len(had) < 25
        async with open_stream(sidecar.url, company, last_id=had[-1]) as again:
            missed, _ = await again.until_connected()
        assert [*had, *(event.id for event in missed)] == [event.id for event in events]


async def test_reader_that_takes_nothing_is_cut_live_and_during_its_replay(
    start_both: StartSidecars, producer: Producer
) -> None:
    sidecars = start_both(
        STREAM_BUFFER_BYTES="100000000", STREAM_STALL_S="2", STREAM_HEARTBEAT_S="0.1"
    )
    for number, sidecar in enumerate(sidecars):
        company = f"company-{number}"
        async with open_stream(sidecar.url, company) as reader:
            await reader.until_connected()
            position = reader.last_id
            live = await asyncio.to_thread(UnreadStream, sidecar.url, f"companyId={company}")
            for n in range(30):
                await producer.publish(company, n=n, pad=LARGE)
                await reader.next()
            query = f"companyId={company}&lastEventId={position}"
            replayed = await asyncio.to_thread(UnreadStream, sidecar.url, query)
            await ending(sidecar, "stalled", 2)
        live.socket.close()
        replayed.socket.close()


async def test_readers_that_stop_in_their_replay_hold_up_nobody(
    start_sidecars: StartSidecars, producer: Producer
) -> None:
    (sidecar,) = start_sidecars("stream_api")
    async with open_stream(sidecar.url, "c") as reader:
        await reader.until_connected()
        position = reader.last_id
        for n in range(20):
            await producer.publish("c", n=n, pad=LARGE)
            await reader.next()
    query = f"companyId=c&lastEventId={position}"
    before = psutil.Process(sidecar.pid).memory_info().rss
    unread = [await asyncio.to_thread(UnreadStream, sidecar.url, query) for _ in range(20)]
    async with open_stream(sidecar.url, "c", last_id=position) as reader:
        events, _ = await reader.until_connected()
    assert [json.loads(event.data)["n"] for event in events] == list(range(20))
    # 20 whole replays would be 96 MB in the sockets' buffers, and as much in batches.
    assert psutil.Process(sidecar.pid).memory_info().rss - before < 160 * 1024 * 1024
    for stream in unread:
        stream.socket.close()


async def test_farewell_that_is_not_taken_holds_no_connection(
    start_sidecars: StartSidecars, producer: Producer
) -> None:
    (sidecar,) = start_sidecars(
        "stream_api", STREAM_BUFFER_BYTES="100000000", STREAM_MAX_LIFETIME_S="4"
    )
    unread = await asyncio.to_thread(UnreadStream, sidecar.url, "companyId=c")
    for n in range(10):
        await producer.publish("c", n=n, pad=LARGE)
    await ending(sidecar, "lifetime")
    await until(lambda: sockets(sidecar), lambda n: n == 0)
    assert b'"reason":"lifetime"' not in await asyncio.to_thread(unread.rest)


async def test_clients_that_leave_at_once_are_not_counted_on(start_both: StartSidecars) -> None:
    for sidecar in start_both():
        address = ("127.0.0.1", int(sidecar.url.rpartition(":")[2]))
        for _ in range(50):
            with socket.create_connection(address) as client:
                # Closed by a reset, often before the answer begins.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(b"GET /stream/updates?companyId=c HTTP/1.1\r\nHost: x\r\n\r\n")
        stats = await until(
            partial(httpx.get, f"{sidecar.url}/stream/stats"),
            lambda answer: answer.json()["connections"]["totalConnections"] == 0,
        )
        assert stats.json()["connections"]["connectionsByCompany"] == {}
        await until(partial(sockets, sidecar), lambda n: n == 0)
        assert set(closed(sidecar.url)) <= {"client_gone"}


async def test_lifetime_and_token_say_goodbye(start_both: StartSidecars) -> None:
    async def read_until_its_end(sidecar: SidecarProcess, bearer: str, reason: str) -> None:
        farewell = await asyncio.to_thread(
            lambda: UnreadStream(sidecar.url, "companyId=company-a", bearer).rest()
        )
        assert farewell.count(b"event: bye") == 1
        assert f'event: bye\ndata: {{"reason":"{reason}"}}\n\n'.encode() in farewell
        # The last chunk: the body is whole, so an HTTP client sees an end, not an error.
        assert farewell.endswith(b"\r\n0\r\n\r\n")

    sidecars = start_both(STREAM_MAX_LIFETIME_S="8", JWT_SECRET=SECRET)
    # The skew of 30 s is granted on an open stream as well as at the door. A claim is of whole
    # seconds: 4 to 5 are left.
    bearers = (token(exp=int(time.time()) - 25), "token_expired"), (token(), "lifetime")
    await asyncio.gather(
        *(read_until_its_end(sidecar, *bearer) for sidecar in sidecars for bearer in bearers)
    )
    for sidecar in sidecars:
        assert closed(sidecar.url) == {"token_expired": 1, "lifetime": 1}


async def test_drain_says_goodbye(start_both: StartSidecars) -> None:
    for sidecar in start_both(JWT_SECRET=SECRET):
        streams = [UnreadStream(sidecar.url, "companyId=company-a", token()) for _ in range(20)]
        assert await asyncio.to_thread(sidecar.stop) == 0
        pauses = set()
        for stream in streams:
            text = stream.rest().decode()
            assert 'event: bye\ndata: {"reason":"drain"}\n\n' in text
            pauses.add(text.rpartition("retry: ")[2].partition("\n")[0])
        assert len(pauses) > 10
        assert all(500 <= int(pause) <= 5000 for pause in pauses)


async def test_switch_of_a_company_ends_its_streams_and_refuses_new_ones(
    start_both: StartSidecars, producer: Producer, pg: psycopg.Connection
) -> None:
    sidecars = start_both()
    pg.execute("INSERT INTO companies (id, name) VALUES ('switched', 'x'), ('other', 'y')")

    def switch(on: str) -> None:
        pg.execute(
            "UPDATE companies SET features = jsonb_set(features, '{streaming}', %s::jsonb)"
            " WHERE id = 'switched'",
            [on],
        )

    async def watch(sidecar: SidecarProcess) -> None:
        async with (
            open_stream(sidecar.url, "switched") as stream,
            open_stream(sidecar.url, "switched,other") as several,
            open_stream(sidecar.url, "other") as other,
        ):
            for one in (stream, several, other):
                await one.until_connected()
            opened.release()
            for bye in (await stream.next(), await several.next()):
                assert (bye.event, json.loads(bye.data)) == ("bye", {"reason": "switched_off"})
            ended.release()
            assert json.loads((await other.next()).data)["n"] == 1
        assert closed(sidecar.url)["switched_off"] == 2
        for company in ("switched", "other,switched"):
            async with open_stream(sidecar.url, company) as refused:
                assert refused.response.status_code == 403
                words = json.loads(await refused.response.aread())["message"]
                assert words == "streaming is switched off for company switched"

    opened, ended = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def operate() -> None:
        for _ in sidecars:
            await opened.acquire()
        switch("false")
        async with asyncio.timeout(30):
            for _ in sidecars:
                await ended.acquire()
        await producer.publish("other", n=1)

    await asyncio.gather(*map(watch, sidecars), operate())
    switch("true")
    for sidecar in sidecars:
        async with asyncio.timeout(30):
            while True:
                async with open_stream(sidecar.url, "switched") as stream:
                    if stream.response.status_code == 200:
                        break
                await asyncio.sleep(0.1)


@pytest.mark.timeout(120)
async def test_clients_that_never_read_cost_neither_memory_nor_anybodys_events(
    start_sidecars: StartSidecars, producer: Producer
) -> None:
    # A group is 40 kB: readers that wait for it never have more than their 64 KiB unread.
    unread_clients, readers, events, group = 500, 200, 400, 20
    (sidecar,) = start_sidecars("stream_api", STREAM_BUFFER_BYTES="65536")
    process = psutil.Process(sidecar.pid)

    async def read() -> list[int]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(sidecar.url.rpartition(":")[2])
        )
        writer.write(b"GET /stream/updates?companyId=c HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"event: connected")
        ready.release()
        seen: list[int] = []
        while len(seen) < events:
            line = await reader.readline()
            assert line, "cut"
            if line.startswith(b"id: metrics."):
                seen.append(int(line.split(b"-")[-2]))
                if len(seen) % group == 0:
                    got_group.release()
        writer.close()
        return seen

    ready, got_group = asyncio.Semaphore(0), asyncio.Semaphore(0)
    tasks = [asyncio.create_task(read()) for _ in range(readers)]
    for _ in range(readers):
        await ready.acquire()
    unread = await asyncio.to_thread(
        lambda: [UnreadStream(sidecar.url, "companyId=c") for _ in range(unread_clients)]
    )
    before = process.memory_info().rss
    peak = before
    for n in range(events):
        await producer.publish("c", n=n, pad="x" * 2000)
        if n % group == group - 1:
            for _ in range(readers):
                await got_group.acquire()
            peak = max(peak, process.memory_info().rss)
    for seen in await asyncio.gather(*tasks):
        assert seen == list(range(1, events + 1))
    await until(lambda: closed(sidecar.url), lambda c: c.get("slow") == unread_clients)
    peak = max(peak, process.memory_info().rss)
    # 64 KiB each would be 32 MB; the same bytes are shared, so it is less.
    assert peak - before < 48 * 1024 * 1024
    for stream in unread:
        stream.socket.close()
