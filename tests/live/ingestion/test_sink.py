"""Stream to ClickHouse on real servers: each event once, and what can't be stored put aside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable
from functools import partial

import clickhouse_connect
import httpx
from clickhouse_connect.driver.client import Client

from config.names import DLQ_STREAM, EVENTS_STREAM, SINK_CONSUMER
from config.settings import Settings
from embedded.child import Child, start_together
from embedded.clickhouse_part import ClickHouseServer
from embedded.ports import free_port
from events.event_id import EventId
from sql.migrations import ClickHouseMigrations
from stream_api.streams import ensure_streams
from tests.live.api import samples
from tests.live.conftest import Backend, temporary_folder
from tests.live.ingestion.test_dead_letters import on_disk
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess, open_stream
from tests.live.waiting import until, until_acknowledged, until_awaited

TABLES = ("events", "metrics_timeseries")


def connect(port: int, database: str) -> Client:
    return clickhouse_connect.get_client(
        host="127.0.0.1", port=port, database=database, autogenerate_session_id=False
    )


def count(ch: Client, table: str) -> int:
    return int(ch.query(f"SELECT count() FROM {table}").result_rows[0][0])


async def test_stored_event_is_the_streamed_one(
    sidecar: SidecarProcess, producer: Producer, ch: Client
) -> None:
    async with open_stream(sidecar.url, "c1") as stream:
        await stream.until_connected()
        await producer.publish(
            "c1",
            userId="u1",
            metricName="integration_score",
            value=0.85,
            periodStart="2025-11-01",
            dimensions={"program": "mentorship"},
            timestamp="2025-11-05T06:07:08.123Z",
        )
        event = await stream.next()
    # Both tables are written before.
    await until_acknowledged(producer.nats.jetstream(), 1)
    point = EventId.parse(event.id)
    assert point is not None
    (stored,) = ch.query(
        "SELECT event_id, event_type, company_id, user_id, payload, stream_seq,"
        " toUnixTimestamp64Milli(received_at), toString(timestamp) FROM events"
    ).result_rows
    assert stored == (
        event.id,
        "metrics.calculated",
        "c1",
        "u1",
        event.data,
        point.seq,
        point.ms,
        "2025-11-05 06:07:08.123",
    )
    (metric,) = ch.query(
        "SELECT company_id, metric_name, metric_value, toString(period_start), user_id,"
        " dimensions, event_id FROM metrics_timeseries"
    ).result_rows
    assert metric == (
        "c1",
        "integration_score",
        0.85,
        "2025-11-01",
        "u1",
        '{"program":"mentorship"}',
        event.id,
    )


async def test_redelivered_events_are_never_counted_twice(
    sidecar: SidecarProcess, producer: Producer, ch: Client
) -> None:
    for table in TABLES:
        ch.command(f"SYSTEM STOP MERGES {table}")
    ch.command("INSERT INTO cohorts VALUES", data="('cohort', 'c1', 'All', '', '{}', now(), now())")
    for n in range(5):
        ch.command("INSERT INTO user_cohorts VALUES", data=f"('u{n}', 'cohort', 'c1', now())")

    async def publish(numbers: range) -> None:
        for n in numbers:
            await producer.publish(
                "c1", metricName="m", value=n, userId=f"u{n % 5}", timestamp="2025-11-05T06:07:08Z"
            )

    def written(rows: int) -> Awaitable[list[int]]:
        return until(lambda: [on_disk(ch, one) for one in TABLES], lambda n: n == [rows, rows])

    await publish(range(25))
    await written(25)
    js = producer.nats.jetstream()
    # The consumer forgets what was acknowledged: everything is delivered again.
    await js.delete_consumer(EVENTS_STREAM, SINK_CONSUMER)
    await written(50)
    # Half of them only: a mean of rows that all stand twice would be right by chance.
    await publish(range(25, 50))
    await written(75)
    # The views say FINAL themselves: a reader who asks without it is told the same.
    for final in (0, 1):
        settings = {"final": final}
        (daily,) = ch.query(
            "SELECT event_count, unique_users FROM daily_event_counts_mv", settings=settings
        ).result_rows
        assert daily == (50, 5)
        ((hourly, mean),) = ch.query(
            "SELECT sum(sample_count), sum(avg_value * sample_count) / sum(sample_count)"
            " FROM hourly_metrics_mv",
            settings=settings,
        ).result_rows
        assert (hourly, mean) == (50, 24.5)
        (cohort,) = ch.query(
            "SELECT cohort_id, metric_name, sample_size, avg_value, min_value, max_value"
            " FROM cohort_metrics_mv",
            settings=settings,
        ).result_rows
        # A user is one observation: the mean of ten values.
        assert cohort == ("cohort", "m", 5, 24.5, 22.5, 26.5)
    assert [count(ch, one) for one in TABLES] == [50, 50]
    # No merge has helped meanwhile.
    assert [on_disk(ch, one) for one in TABLES] == [75, 75]


async def test_a_batch_ends_by_its_size_its_bytes_or_a_drain_and_a_backlog_makes_larger_ones(
    settings: Settings, producer: Producer, ch: Client
) -> None:
    js = producer.nats.jetstream()
    await ensure_streams(js, settings)
    backlog, size, big, few = 20_000, 1000, 45, 5
    await producer.numbers(0, backlog, "c")
    # No batch of this test ends by its time.
    sidecar = SidecarProcess(
        settings, CLICKHOUSE_BATCH_SIZE=str(size), CLICKHOUSE_BATCH_TIMEOUT_MS="600000"
    )
    sidecar.start()
    try:

        def stored() -> int:
            return count(ch, "events")

        def batches() -> int:
            return int(samples(sidecar.url, "analytics_sink_batches_total").get("", 0))

        # Once less than a batch is left in the stream, batches have their usual size again.
        kept = await until(stored, lambda n: n > backlog - size)
        behind = await until(batches, lambda n: n > 0)
        assert behind <= backlog / size / 4
        left = backlog - kept
        await producer.numbers(left, size - 1, "c")
        await until_held(producer, size - 1)
        assert stored() == kept
        await producer.numbers(0, 1, "c")
        await until(stored, lambda n: n == kept + size)
        assert await until(batches, lambda n: n > behind) == behind + 1
        # 45 of 200 kB are more than 8 MiB, and far fewer than a batch's size.
        for _ in range(big):
            await producer.publish("c", x="y" * 200_000)
        await until(stored, lambda n: n > kept + size)
        await producer.numbers(0, few, "c")
        total = kept + size + big + few
        await until_held(producer, total - stored())
    finally:
        ended = sidecar.stop()
    # What was held is stored at its end, and acknowledged: nobody has to wait 30 s for it.
    assert ended == 0
    assert stored() == total
    await until_held(producer, 0, seconds=10)


async def until_held(producer: Producer, messages: int, seconds: float = 30) -> None:
    """Wait until the sinks hold so many messages that are not acknowledged."""
    await until_awaited(
        partial(producer.nats.jetstream().consumer_info, EVENTS_STREAM, SINK_CONSUMER),
        lambda info: (info.num_pending, info.num_ack_pending) == (0, messages),
        seconds,
    )


async def until_pulling(producer: Producer, sinks: int) -> None:
    """Wait until so many sinks have asked for messages: being ready does not say it."""
    await until_awaited(
        partial(producer.nats.jetstream().consumer_info, EVENTS_STREAM, SINK_CONSUMER),
        lambda info: info.num_waiting == sinks,
    )


async def test_two_sinks_share_the_work(settings: Settings, producer: Producer, ch: Client) -> None:
    total = 5000
    await ensure_streams(producer.nats.jetstream(), settings)
    both = [
        SidecarProcess(settings, CLICKHOUSE_BATCH_SIZE="100", CLICKHOUSE_BATCH_TIMEOUT_MS="100")
        for _ in range(2)
    ]
    try:
        await asyncio.gather(*(asyncio.to_thread(one.start) for one in both))
        await until_pulling(producer, 2)
        await producer.numbers(0, total, "c")
        await until(lambda: count(ch, "events"), lambda n: n == total)
        await until_held(producer, 0)
        rows = [samples(one.url, "analytics_sink_rows_total").get("", 0) for one in both]
    finally:
        await asyncio.gather(*(asyncio.to_thread(one.stop) for one in both))
    assert all(rows), rows
    # None was given to both.
    assert sum(rows) == total
    assert on_disk(ch, "events") == total
    assert count(ch, "dead_letters") == 0


async def test_bad_input_goes_to_the_dead_letters_with_reason_bytes_and_sequence(
    sidecar: SidecarProcess, producer: Producer, ch: Client
) -> None:
    bad = {
        "not_json": b"\xff not json",
        "no_company": b'{"value": 1}',
        "bad_company": b'{"companyId": "a b"}',
        "wrong_type": b'{"companyId":"c","metricName":"m","value":"1"}',
        "bad_timestamp": b'{"companyId":"c","timestamp":"never"}',
        "bad_period": b'{"companyId":"c","metricName":"m","value":1,"periodStart":"1871-01-01"}',
        "too_large": b'{"companyId":"c","x":"' + b"y" * 300 * 1024 + b'"}',
    }
    for raw in bad.values():
        await producer.raw(raw)
    await producer.publish("c", good=True)
    rows = await until(
        lambda: (
            ch.query(
                "SELECT reason, stream_seq, payload_bytes, detail FROM dead_letters"
                " ORDER BY stream_seq"
            ).result_rows
        ),
        lambda rows: len(rows) == len(bad),
    )
    assert [row[0] for row in rows] == list(bad)
    assert [row[1] for row in rows] == list(range(1, len(bad) + 1))
    assert [row[2] for row in rows] == [len(raw) for raw in bad.values()]
    assert all(row[3] for row in rows)
    await until(lambda: count(ch, "events"), lambda n: n == 1)
    js = producer.nats.jetstream()
    for number, (reason, raw) in enumerate(bad.items(), 1):
        letter = await js.get_msg(DLQ_STREAM, seq=number)
        assert letter.data == raw
        assert letter.subject == f"dlq.{reason}"


async def test_subject_that_is_no_utf8_holds_nothing_up(
    sidecar: SidecarProcess, producer: Producer, nats_url: str, ch: Client
) -> None:
    async with open_stream(sidecar.url, "c") as stream:
        await stream.until_connected()
        port = int(nats_url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b'CONNECT {}\r\nPUB metrics.\xff 17\r\n{"companyId":"c"}\r\nPING\r\n')
        while not (await reader.readline()).startswith(b"PONG"):
            pass
        writer.close()
        await producer.publish("c")
        ids = [event.id for event in await stream.take(2)]
    await until(lambda: count(ch, "events"), lambda n: n == 2)
    rows = ch.query("SELECT event_id FROM events ORDER BY stream_seq").result_columns[0]
    assert list(rows) == ids
    assert ids[0].startswith(r"metrics.\xff-1-")


async def test_row_that_clickhouse_refuses_is_put_aside_alone(
    sidecar: SidecarProcess, producer: Producer, ch: Client
) -> None:
    ch.command("ALTER TABLE events ADD CONSTRAINT no_poison CHECK user_id != 'poison'")
    for n in range(40):
        await producer.publish("c", userId="poison" if n in {7, 23} else f"u{n}")
    await until(lambda: count(ch, "events"), lambda n: n == 38)
    rows = await until(
        lambda: ch.query("SELECT reason, stream_seq, detail FROM dead_letters").result_rows,
        lambda rows: len(rows) == 2,
    )
    assert sorted(row[1] for row in rows) == [8, 24]
    assert {row[0] for row in rows} == {"refused_by_warehouse"}
    assert all("no_poison" in row[2] for row in rows)


async def test_clickhouse_away_at_start_loses_nothing(
    settings: Settings, producer: Producer, backend: Backend
) -> None:
    with temporary_folder() as folder:
        server = ClickHouseServer(folder / "clickhouse", free_port(), memory_mb=1024)
        process = Child(server.part(), folder / "logs", os.environ)
        sidecar = SidecarProcess(
            settings, CLICKHOUSE_PORT=str(server.port), CLICKHOUSE_BATCH_TIMEOUT_MS="200"
        )
        sidecar.start(wait_ready=False)
        try:
            await until(
                lambda: httpx.get(f"{sidecar.url}/health/ready").json().get("message", ""),
                lambda message: "clickhouse" in message,
            )
            # Streaming does not wait for the warehouse.
            async with open_stream(sidecar.url, "c") as stream:
                await stream.until_connected()
                await producer.numbers(0, 30, "c")
                events = await stream.take(30)
            assert [json.loads(e.data)["n"] for e in events] == list(range(30))
            health = (await asyncio.to_thread(httpx.get, f"{sidecar.url}/health")).json()
            assert health["status"] == "degraded"
            assert health["dependencies"]["clickhouse"] == "degraded"
            start_together([process])
            name = settings.clickhouse_database
            with contextlib.closing(connect(server.port, "default")) as client:
                ClickHouseMigrations(client, name).apply()
            sidecar.wait_ready()
            with contextlib.closing(connect(server.port, name)) as client:
                await until(lambda: count(client, "events"), lambda n: n == 30)
        finally:
            sidecar.stop()
            process.stop()


async def read_numbers(
    url: str, seen: list[int], stop_at: int, last_id: str, connected: asyncio.Event
) -> str:
    """Append the `n` of each event until there are `stop_at`; returns the last id."""
    async with open_stream(url, "c", last_id=last_id or None) as stream:
        while len(seen) < stop_at:
            event = await stream.next()
            if event.event == "metric_updated":
                seen.append(json.loads(event.data)["n"])
            else:
                assert event.event == "connected", event
                connected.set()
    return stream.last_id


async def test_killed_sidecar_stores_and_streams_each_of_50000_events_once(
    sidecar: SidecarProcess, producer: Producer, ch: Client
) -> None:
    total, killed_at = 50_000, 10_000
    seen: list[int] = []
    connected = asyncio.Event()
    reading = asyncio.create_task(read_numbers(sidecar.url, seen, killed_at, "", connected))
    await connected.wait()

    async def publish() -> None:
        for start in range(0, total, 500):
            await producer.numbers(start, start + 500, "c")

    publishing = asyncio.create_task(publish())
    last_id = await reading
    sidecar.kill()
    assert len(seen) == killed_at
    await asyncio.to_thread(sidecar.start)
    await read_numbers(sidecar.url, seen, total, last_id, connected)
    await publishing
    assert seen == list(range(total))
    # What the killed sink held is delivered again after the acknowledgement wait.
    js = producer.nats.jetstream()
    async with asyncio.timeout(90):
        while True:
            info = await js.consumer_info(EVENTS_STREAM, SINK_CONSUMER)
            if not info.num_pending and not info.num_ack_pending:
                break
            await asyncio.sleep(0.2)
    ((rows, distinct),) = ch.query("SELECT count(), uniqExact(stream_seq) FROM events").result_rows
    assert (rows, distinct) == (total, total)
    assert count(ch, "dead_letters") == 0
