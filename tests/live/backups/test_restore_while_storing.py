"""A restore in place while a producer publishes and the sink stores: nothing accepted is lost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import count

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from pipelines.defs.backups import after_restore
from pipelines.defs.backups.record import Kind
from pipelines.defs.retention.erasure import erase
from pipelines.defs.retention.subject import Subject
from tests.live.backups.conftest import World
from tests.live.conftest import NatsProcess
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess
from tests.live.waiting import until, until_in_stream

PUBLISHED_AT_ONCE = 20
PAUSE_SECONDS = 0.02


@pytest.fixture
def nats_url(nats_server: NatsProcess) -> str:
    """Here events come from a stream."""
    return nats_server.url


async def test_each_accepted_event_is_stored_once_when_tables_are_restored_meanwhile(
    world: World, sidecar: SidecarProcess, producer: Producer
) -> None:
    numbers = count()
    over = asyncio.Event()

    async def publish_some() -> None:
        for _ in range(PUBLISHED_AT_ONCE):
            await producer.publish(metricName="score", value=1, n=next(numbers))
        await producer.raw(b"not JSON")
        await producer.nats.flush()

    async def publish_until_over() -> None:
        while not over.is_set():
            await publish_some()
            await asyncio.sleep(PAUSE_SECONDS)

    def stored(table: str, counted: str = "count()", where: str = "1") -> int:
        # Not FINAL: what the client's setting shows every reader.
        query = f"SELECT {counted} FROM {table} WHERE {where}"
        return int(world.ch.query(query).result_rows[0][0])

    ours = "company_id = 'test-company'"
    await publish_some()
    await until(lambda: stored("events", where=ours), lambda events: events == PUBLISHED_AT_ONCE)
    await until(lambda: stored("dead_letters"), lambda letters: letters == 1)
    await asyncio.to_thread(world.take, Kind.FULL)
    # After the backup, before the restore: stored into the tables that go.
    await publish_some()
    await until(
        lambda: stored("events", where=ours), lambda events: events == 2 * PUBLISHED_AT_ONCE
    )
    publishing = asyncio.create_task(publish_until_over())
    try:
        done = await asyncio.to_thread(world.restore, datetime.now(UTC))
        # Everything that was stored before is there when the restore says that it is over.
        assert stored("events", where=f"{ours} AND payload LIKE '%\"n\":39}}'") == 1
    finally:
        over.set()
        await publishing
    assert done.notes == ()
    assert world.events().keys() >= {"2026-10-30", "2026-10-31"}

    accepted = next(numbers)
    batches = accepted // PUBLISHED_AT_ONCE
    assert batches > 2, "nothing was published during the restore"
    await until_in_stream(producer.nats.jetstream(), accepted + batches)
    state = await producer.nats.jetstream().stream_info("ANALYTICS_EVENTS")
    assert state.state.messages == accepted + batches
    for table in ("events", "metrics_timeseries"):
        await until(
            lambda table=table: stored(table, "uniqExact(event_id)", ours),  # type: ignore[misc]
            lambda events: events == accepted,
        )
        assert stored(table, where=ours) == accepted
    assert await until(lambda: stored("dead_letters"), lambda letters: letters >= batches)
    assert stored("dead_letters") == batches
    letters = await producer.nats.jetstream().stream_info("ANALYTICS_DLQ")
    assert letters.state.messages == batches


@pytest.mark.usefixtures("sidecar")
def test_what_was_erased_stays_erased_when_the_streams_events_can_not_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.take(Kind.FULL)
    subject = Subject("company-0")
    erase(world.pg, world.ch, None, subject, datetime.now(UTC), requested_by="ann")

    def fail(*_: object) -> None:
        raise DatabaseError("no space left")

    monkeypatch.setattr(after_restore, "write_whole_stream", fail)
    with pytest.raises(DatabaseError, match="no space left"):
        world.restore()
    assert world.companies_of_events() == {"company-1", "company-2"}
