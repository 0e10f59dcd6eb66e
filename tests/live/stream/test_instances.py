"""Several instances on one NATS server: any of them serves any client."""

from __future__ import annotations

import asyncio
import json
import random
from functools import partial

import httpx

from config.settings import Settings
from tests.live.api import get
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess, open_stream, until_read
from tests.live.stream.conftest import StartSidecars
from tests.live.stream.returning import ReturningClient
from tests.live.stream.test_auth import SECRET, token
from tests.live.waiting import until

COMPANIES = [f"company-{n}" for n in range(10)]


async def test_any_instance_resumes_any_client(
    start_both: StartSidecars, producer: Producer
) -> None:
    first, second = start_both()
    async with open_stream(first.url) as stream:
        await stream.until_connected()
        await producer.numbers(0, 10)
        events = await stream.take(5)
    # The other one may not have read that far yet: it waits for it, up to 3 s.
    async with open_stream(second.url, last_id=events[-1].id) as stream:
        missed, connected = await stream.until_connected()
        await producer.numbers(10, 12)
        events += [*missed, *await stream.take(7 - len(missed))]
    assert [json.loads(event.data)["n"] for event in events] == list(range(12))
    assert json.loads(connected.data)["replayed"] == len(missed)


async def test_ticket_of_one_instance_is_redeemed_once_by_any(
    start_sidecars: StartSidecars,
) -> None:
    sidecars = start_sidecars("stream_api", "stream_api", JWT_SECRET=SECRET)
    bearer = {"Authorization": f"Bearer {token()}"}
    async with httpx.AsyncClient() as client:

        async def status(sidecar: SidecarProcess, ticket: str) -> int:
            url = f"{sidecar.url}/stream/updates?ticket={ticket}"
            async with client.stream("GET", url) as answer:
                return answer.status_code

        for _ in range(10):
            answer = await client.post(f"{sidecars[0].url}/stream/ticket", headers=bearer)
            ticket = answer.json()["ticket"]
            attempts = [status(sidecars[n % 2], ticket) for n in range(6)]
            assert sorted(await asyncio.gather(*attempts)) == [200] + [401] * 5


async def test_statistics_of_the_cluster_sum_all_instances(
    start_both: StartSidecars, producer: Producer
) -> None:
    first, second = start_both()
    await producer.publish("a")
    for sidecar in (first, second):
        await until_read(sidecar.url, 1)
    async with (
        open_stream(first.url, "a") as one,
        open_stream(second.url, "a") as two,
        open_stream(second.url, "b") as three,
        httpx.AsyncClient() as client,
    ):
        for stream in (one, two, three):
            await stream.until_connected()
        for sidecar in (first, second):
            # Who does not answer within the silence is not counted.
            stats = await until(
                partial(get, f"{sidecar.url}/stream/stats", scope="cluster"),
                lambda stats: (
                    len(stats["instances"]) == 2 and stats["connections"]["totalConnections"] <= 3
                ),
            )
            assert stats["connections"] == {
                "totalConnections": 3,
                "activeCompanies": 2,
                "connectionsByCompany": {"a": 2, "b": 1},
            }
            assert stats["replayCache"]["totalEvents"] == 2
        assert (await client.get(f"{first.url}/stream/stats?scope=x")).status_code == 400
        # One that has gone is not waited for beyond the silence, and is not counted.
        await asyncio.to_thread(second.stop)
        answer = await client.get(f"{first.url}/stream/stats?scope=cluster")
    assert answer.json()["connections"]["connectionsByCompany"] == {"a": 1}
    assert len(answer.json()["instances"]) == 1


class Load:
    """Publishes numbered events at a rate and knows what each company must have got."""

    def __init__(self, producer: Producer, companies: list[str], total: int) -> None:
        self._producer = producer
        # Decided beforehand, so that a client knows how many events are its own.
        self.companies = [random.choice(companies) for _ in range(total)]
        self.of = {c: [n for n, one in enumerate(self.companies) if one == c] for c in companies}

    async def publish(self, per_second: int) -> None:
        """Publish all of it, a bunch each 10 ms."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        for n, company in enumerate(self.companies):
            await self._producer.publish(company, n=n)
            ahead = n / per_second - (loop.time() - started)
            if ahead > 0.01:
                await self._producer.nats.flush()
                await asyncio.sleep(ahead)
        await self._producer.nats.flush()

    def check(self, clients: list[ReturningClient]) -> None:
        """Every client has its company's exact sequence."""
        for client in clients:
            assert [json.loads(data)["n"] for data in client.data] == self.of[client.company]
            assert client.resets == 0


async def test_rolling_restart_under_load_loses_nothing(
    start_sidecars: StartSidecars, producer: Producer
) -> None:
    sidecars = start_sidecars("stream_api", "stream_api")
    running = {sidecar.url: sidecar for sidecar in sidecars}
    load = Load(producer, COMPANIES, 1500)
    clients = [
        ReturningClient(lambda: list(running), company, len(load.of[company]))
        for company in COMPANIES * 20
    ]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.run())
        for client in clients:
            await client.live.wait()
        publishing = group.create_task(load.publish(250))
        for sidecar in sidecars:
            # As a balancer sees it: taken out, drained, started, put back when it is ready.
            del running[sidecar.url]
            assert await asyncio.to_thread(sidecar.stop) == 0
            await asyncio.to_thread(sidecar.start)
            running[sidecar.url] = sidecar
        await publishing
    load.check(clients)
    assert sum("bye" in client.controls for client in clients) == len(clients)


async def test_two_thousand_events_a_second_with_clients_that_come_and_go(
    settings: Settings, producer: Producer
) -> None:
    """Who stays away longer finds its events in the ring, in ClickHouse, and behind the sink."""
    sidecar = SidecarProcess(
        settings, CLICKHOUSE_BATCH_SIZE="100000", CLICKHOUSE_BATCH_TIMEOUT_MS="2500"
    )
    sidecar.start()
    load = Load(producer, ["busy"] * 8 + COMPANIES[:2], 10_000)
    try:
        clients = [
            ReturningClient(
                lambda: [sidecar.url],
                company,
                len(load.of[company]),
                stays=partial(random.randint, 1, len(load.of[company]) // 6),
                away_seconds=lambda: random.choice((0, 0.02, 0.1, 1.8)),
            )
            for company in ("busy", *COMPANIES[:2])
            for _ in range(8)
        ]
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run())
            for client in clients:
                await client.live.wait()
            group.create_task(load.publish(2000))
        load.check(clients)
        metrics = (await asyncio.to_thread(httpx.get, f"{sidecar.url}/metrics")).text
    finally:
        sidecar.stop()
    for source in ("ring", "clickhouse", "jetstream"):
        series = f'analytics_stream_replayed_events_total{{source="{source}"}}'
        assert f"{series} " in metrics
        assert f"{series} 0.0" not in metrics
    assert sum(client.connections for client in clients) > 6 * len(clients)
