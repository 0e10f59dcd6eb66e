"""`/stream/updates` on real servers: what is sent, what is resumed, what is refused."""

from __future__ import annotations

import asyncio
import json
import time
from email.utils import parsedate_to_datetime

import httpx
import pytest

from config.names import EVENTS_STREAM
from config.settings import Settings
from embedded.child import start_together
from events.event_id import EventId
from tests.live.api import samples
from tests.live.conftest import NatsProcess
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess, open_stream, until_read
from tests.live.waiting import until


async def test_answer_is_dated_by_its_own_second(sidecar: SidecarProcess) -> None:
    def date() -> float:
        headers = httpx.get(f"{sidecar.url}/health/live").headers
        [value] = headers.get_list("date")
        return parsedate_to_datetime(value).timestamp()

    before = int(time.time())
    first = await asyncio.to_thread(date)
    assert before <= first <= time.time()
    await until(date, lambda second: second > first)


async def test_published_event_arrives_with_its_id(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    async with open_stream(sidecar.url) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["cache-control"] == "no-cache"
        assert stream.response.headers["x-accel-buffering"] == "no"
        _, connected = await stream.until_connected()
        assert json.loads(connected.data)["companyId"] == "test-company"
        await producer.raw(
            b'{\n "companyId": "test-company", "metricName": "integration_score",'
            b' "value": 0.85, "periodStart": "2025-11-01"}'
        )
        event = await stream.next()
    assert event.event == "metric_updated"
    assert event.data == (
        '{"companyId":"test-company","metricName":"integration_score","value":0.85,'
        '"periodStart":"2025-11-01"}'
    )
    assert event.id.startswith("metrics.calculated-1-")


async def test_frames_are_event_data_id_and_the_first_carries_retry(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    async with (
        httpx.AsyncClient() as client,
        client.stream("GET", f"{sidecar.url}/stream/updates?companyId=c") as response,
    ):
        chunks = response.aiter_text()
        head = await anext(chunks)
        await producer.publish("c", x=1)
        frame = await anext(chunks)
    retry, position, connected, rest = head.split("\n\n")
    assert retry == "retry: 2000"
    assert position.startswith("id: position-0-")
    assert connected.startswith("event: connected\ndata: {")
    assert rest == ""
    event, data, event_id = frame.removesuffix("\n\n").split("\n")
    assert event == "event: metric_updated"
    assert data == 'data: {"companyId":"c","x":1}'
    assert EventId.parse(event_id.removeprefix("id: ")) is not None


async def test_client_resumes_after_its_last_id(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    async with open_stream(sidecar.url) as stream:
        await stream.until_connected()
        await producer.numbers(0, 3)
        events = await stream.take(3)
    await producer.numbers(3, 6)
    await until_read(sidecar.url, 6)
    async with open_stream(sidecar.url, last_id=events[1].id) as stream:
        replayed, connected = await stream.until_connected()
        await producer.numbers(6, 7)
        live = await stream.next()
    assert [json.loads(e.data)["n"] for e in [*replayed, live]] == [2, 3, 4, 5, 6]
    assert json.loads(connected.data)["replayed"] == 4


async def test_client_cut_before_its_first_event_resumes_from_its_position(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    async with open_stream(sidecar.url) as stream:
        await stream.until_connected()
        position = stream.last_id
    assert position.startswith("position-")
    await producer.numbers(0, 2)
    await until_read(sidecar.url, 2)
    async with open_stream(sidecar.url, last_id=position) as stream:
        replayed, _ = await stream.until_connected()
    assert [json.loads(e.data)["n"] for e in replayed] == [0, 1]


async def test_nothing_is_replayed_to_a_new_client(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    async with open_stream(sidecar.url) as first:
        await first.until_connected()
        await producer.numbers(0, 2)
        await first.take(2)
        async with open_stream(sidecar.url) as second:
            replayed, connected = await second.until_connected()
    assert replayed == []
    assert json.loads(connected.data)["replayed"] == 0


async def test_replay_reaches_behind_memory_into_the_stream(
    settings: Settings, producer: Producer
) -> None:
    """With the warehouse off only JetStream has what the ring of 2,000 events has lost."""
    with SidecarProcess(settings, CLICKHOUSE_ENABLED="false") as process:
        async with open_stream(process.url) as stream:
            await stream.until_connected()
            await producer.numbers(0, 1)
            first = await stream.next()
        for start in range(1, 6000, 500):
            await producer.numbers(start, start + 500)
            await producer.numbers(0, 100, company="somebody-else")
        await until_read(process.url, 7201)
        async with open_stream(process.url, last_id=first.id) as stream:
            events = await stream.take(6000)
    assert [json.loads(e.data)["n"] for e in events] == list(range(1, 6001))


async def test_pacing_is_visible_in_the_metrics(settings: Settings, producer: Producer) -> None:
    process = SidecarProcess(settings, CLICKHOUSE_ENABLED="false", STREAM_PACE_MS="500")
    process.start()

    def flushes() -> tuple[int, int]:
        names = ("analytics_stream_events_total", "analytics_stream_flushes_total")
        events, written = (samples(process.url, name).get("", 0) for name in names)
        return int(events), int(written)

    try:
        async with open_stream(process.url) as stream:
            await stream.until_connected()
            # Each alone is a write, and waits for nobody.
            for n in range(3):
                await producer.numbers(n, n + 1)
                await stream.next()
            assert await asyncio.to_thread(flushes) == (3, 3)
            await producer.numbers(3, 503)
            events = await stream.take(500)
    finally:
        seen, written = flushes()
        process.stop()
    assert [json.loads(e.data)["n"] for e in events] == list(range(3, 503))
    assert seen == 503
    assert 4 <= written <= 10


@pytest.mark.parametrize(
    ("last_id", "reason"),
    [
        ("nonsense", "unknown_id"),
        ("metrics.calculated-1-1000000000000", "other_stream"),
        ("metrics.calculated-999999-9999999999999", "unknown_id"),
    ],
)
async def test_unusable_id_is_answered_by_reset_and_then_live(
    sidecar: SidecarProcess, producer: Producer, last_id: str, reason: str
) -> None:
    async with open_stream(sidecar.url, last_id=last_id) as stream:
        before, _ = await stream.until_connected()
        await producer.numbers(0, 1)
        live = await stream.next()
    assert [e.event for e in before] == ["reset"]
    assert json.loads(before[0].data)["reason"] == reason
    assert json.loads(live.data)["n"] == 0


async def test_id_of_another_company_is_answered_by_reset(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    async with open_stream(sidecar.url, "company-a") as stream:
        await stream.until_connected()
        await producer.publish("company-a", secret="a")
        event = await stream.next()
    async with open_stream(sidecar.url, "company-b", last_id=event.id) as stream:
        before, _ = await stream.until_connected()
    assert [json.loads(e.data)["reason"] for e in before] == ["other_company"]


async def test_companies_see_only_their_own_events(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    async with (
        open_stream(sidecar.url, "company-a") as a,
        open_stream(sidecar.url, "company-b") as b,
    ):
        await a.until_connected()
        await b.until_connected()
        for n in range(20):
            await producer.publish("company-a" if n % 2 else "company-b", n=n)
        seen_a, seen_b = await a.take(10), await b.take(10)
    assert {json.loads(e.data)["companyId"] for e in seen_a} == {"company-a"}
    assert {json.loads(e.data)["companyId"] for e in seen_b} == {"company-b"}


async def test_types_filter_sends_only_those(sidecar: SidecarProcess, producer: Producer) -> None:
    async with open_stream(sidecar.url, types="sroi_updated,vis_updated") as stream:
        await stream.until_connected()
        for subject in ("metrics.x", "sroi.x", "journey.x", "q2q.x", "metrics.y", "vis.x"):
            await producer.publish(subject=subject)
        events = await stream.take(3)
    assert [e.id.partition("-")[0] for e in events] == ["sroi.x", "q2q.x", "vis.x"]


async def test_heartbeat_is_a_comment_without_id(settings: Settings) -> None:
    with SidecarProcess(settings, STREAM_HEARTBEAT_S="0.2") as process:
        async with (
            httpx.AsyncClient() as client,
            client.stream("GET", f"{process.url}/stream/updates?companyId=c") as response,
        ):
            chunks = response.aiter_text()
            await anext(chunks)
            assert await anext(chunks) == ":heartbeat\n\n"


async def test_drain_says_goodbye_with_a_random_pause(sidecar: SidecarProcess) -> None:
    async with open_stream(sidecar.url) as stream:
        await stream.until_connected()
        stopping = asyncio.create_task(asyncio.to_thread(sidecar.stop))
        bye = await stream.next()
        assert await stopping == 0
    assert bye.event == "bye"
    assert json.loads(bye.data) == {"reason": "drain"}


async def test_open_stream_survives_a_restart_of_nats(
    sidecar: SidecarProcess, producer: Producer, nats_server: NatsProcess
) -> None:
    async with open_stream(sidecar.url) as stream:
        await stream.until_connected()
        await producer.numbers(0, 5)
        before = await stream.take(5)
        nats_server.process.stop()
        start_together([nats_server.process])
        await producer.reconnected.wait()
        await producer.numbers(5, 10)
        after = await stream.take(5)
    assert [json.loads(e.data)["n"] for e in [*before, *after]] == list(range(10))


async def test_open_stream_is_told_when_the_stream_was_made_anew(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    async with open_stream(sidecar.url) as stream:
        await stream.until_connected()
        await producer.numbers(0, 5)
        old = (await stream.take(5))[-1].id
        js = producer.nats.jetstream()
        created = (await js.stream_info(EVENTS_STREAM)).created
        assert await js.delete_stream(EVENTS_STREAM)
        reset = await stream.next()
        assert (reset.event, json.loads(reset.data)["reason"]) == ("reset", "other_stream")
        assert (await js.stream_info(EVENTS_STREAM)).created != created
        await producer.numbers(5, 7)
        events = await stream.take(2)
        assert [json.loads(e.data)["n"] for e in events] == [5, 6]
        assert events[0].id.startswith("metrics.calculated-1-")
    async with open_stream(sidecar.url, last_id=old) as late:
        before, _ = await late.until_connected()
    assert [e.event for e in before] == ["reset"]


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 400, "companyId is missing"),
        ("companyId=a%20b", 400, "companyId must be"),
        ("companyId=" + "a" * 101, 400, "companyId must be"),
        ("companyId=c&types=nonsense", 400, "nonsense unknown"),
        ("companyId=c&ticket=spent", 401, "ticket"),
    ],
)
def test_refusal_before_the_stream_names_what_is_wrong(
    sidecar: SidecarProcess, query: str, status: int, words: str
) -> None:
    answer = httpx.get(f"{sidecar.url}/stream/updates?{query}")
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "message"}
    assert words in answer.json()["message"]


async def test_bad_input_is_not_streamed_and_disturbs_nobody(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    async with open_stream(sidecar.url) as stream:
        await stream.until_connected()
        await producer.numbers(0, 1)
        await producer.raw(b"not json")
        await producer.raw(b'{"value": 1}')
        await producer.raw(b'{"companyId": "test-company", "metricName": "m", "value": "x"}')
        await producer.raw(b'{"companyId":"test-company","x":"' + b"y" * 300 * 1024 + b'"}')
        await producer.numbers(1, 2)
        events = await stream.take(2)
    assert [json.loads(e.data)["n"] for e in events] == [0, 1]
    rejected = [
        line
        for line in (await asyncio.to_thread(httpx.get, f"{sidecar.url}/metrics")).text.splitlines()
        if line.startswith("analytics_stream_rejected_events_total{") and not line.endswith(" 0.0")
    ]
    assert sorted(rejected) == [
        f'analytics_stream_rejected_events_total{{reason="{reason}"}} 1.0'
        for reason in ("no_company", "not_json", "too_large", "wrong_type")
    ]


def test_stats_count_connections_and_cached_events(sidecar: SidecarProcess) -> None:
    with httpx.stream("GET", f"{sidecar.url}/stream/updates?companyId=c") as stream:
        chunks = stream.iter_raw()
        next(chunks)
        stats = httpx.get(f"{sidecar.url}/stream/stats").json()
        health = httpx.get(f"{sidecar.url}/stream/health").json()
    assert stats["connections"] == {
        "totalConnections": 1,
        "activeCompanies": 1,
        "connectionsByCompany": {"c": 1},
    }
    assert set(stats["replayCache"]) == {"companies", "totalEvents", "eventsByCompany"}
    assert health["streaming"] == {"enabled": True, "activeConnections": 1, "activeCompanies": 1}
