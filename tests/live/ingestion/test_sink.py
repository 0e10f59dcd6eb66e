"""Stream to ClickHouse on real servers: each event once, and what can't be stored put aside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os

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
from tests.live.conftest import Backend, temporary_folder
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess, open_stream
from tests.live.waiting import until


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
    await until(lambda: count(ch, "events"), lambda n: n == 1)
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
    for n in range(50):
        await producer.publish("c1", metricName="m", value=n, userId=f"u{n % 5}")
    await until(lambda: count(ch, "events"), lambda n: n == 50)
    js = producer.nats.jetstream()
    # The consumer forgets what was acknowledged: everything is delivered again.
    await js.delete_consumer(EVENTS_STREAM, SINK_CONSUMER)
    await until(
        lambda: ch.query("SELECT count() FROM events SETTINGS final = 0").result_rows[0][0],
        lambda n: n == 100,
    )
    assert count(ch, "events") == 50
    assert count(ch, "metrics_timeseries") == 50
    (daily,) = ch.query("SELECT event_count, unique_users FROM daily_event_counts_mv").result_rows
    assert daily == (50, 5)
    ((hourly,),) = ch.query("SELECT sum(sample_count) FROM hourly_metrics_mv").result_rows
    assert hourly == 50


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
