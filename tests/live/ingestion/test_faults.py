"""Whatever dies, stops or fills up while events come: each accepted event is stored exactly once.

The producer publishes with JetStream's acknowledgement and an id, so that it knows what was
accepted. `python -m benchmarks.faults` does the same for thirty rounds of 100,000 events.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import resource
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from benchmarks.streaming.process import memory_kb
from config.settings import Settings
from embedded.child import Child, start_together
from embedded.clickhouse_part import ClickHouseServer
from embedded.ports import free_port
from sql.migrations import ClickHouseMigrations
from stream_api.warehouse import Outage
from tests.live.api import samples
from tests.live.conftest import NatsProcess, temporary_folder
from tests.live.ingestion.faults import (
    Proof,
    Proxy,
    SureProducer,
    Victim,
    freeze,
    kill,
    until_health,
)
from tests.live.sidecar import PATCHED, SidecarProcess

EVENTS = 10_000
FROZEN_SECONDS = 3.0
DISK_MB = 400
MEMORY_MB = 300


@dataclass(frozen=True)
class Warehouse:
    """A ClickHouse server that a test may kill, and its folder."""

    port: int
    process: Child
    folder: Path


@pytest.fixture
def warehouse(settings: Settings) -> Iterator[Warehouse]:
    with temporary_folder() as folder, small_disk(folder):
        server = ClickHouseServer(folder / "clickhouse", free_port(), memory_mb=1024)
        process = Child(server.part(), folder.parent, os.environ)
        start_together([process])
        try:
            with contextlib.closing(connect(server.port, "default")) as client:
                ClickHouseMigrations(client, settings.clickhouse_database).apply()
            yield Warehouse(server.port, process, folder)
        finally:
            process.stop()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Root has a small file system mounted; anybody else goes without."""
    if os.geteuid() != 0:
        yield
        return
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], check=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def sidecar(settings: Settings, warehouse: Warehouse) -> Iterator[SidecarProcess]:
    with SidecarProcess(
        settings, CLICKHOUSE_PORT=str(warehouse.port), CLICKHOUSE_BATCH_TIMEOUT_MS="500"
    ) as process:
        yield process


@pytest.fixture
async def producer(nats_url: str) -> AsyncIterator[SureProducer]:
    producer = SureProducer("faults")
    await producer.open(nats_url)
    try:
        yield producer
    finally:
        await producer.close()


@pytest.fixture
def proof(settings: Settings, warehouse: Warehouse, nats_url: str) -> Proof:
    return Proof(warehouse.port, settings.clickhouse_database, nats_url)


def connect(port: int, database: str) -> Client:
    return clickhouse_connect.get_client(
        host="127.0.0.1", port=port, database=database, autogenerate_session_id=False
    )


async def test_each_is_killed_at_a_random_moment(
    sidecar: SidecarProcess,
    warehouse: Warehouse,
    nats_server: NatsProcess,
    producer: SureProducer,
    proof: Proof,
) -> None:
    publishing = asyncio.create_task(producer.publish(EVENTS))
    victims: list[Victim] = [sidecar, warehouse.process, nats_server.process]
    random.shuffle(victims)
    for victim in victims:
        await asyncio.sleep(random.uniform(0.1, 0.8))
        await kill(victim)
    await publishing
    await proof.until_stored(producer)


async def test_each_stands_still_for_some_seconds(
    sidecar: SidecarProcess,
    warehouse: Warehouse,
    nats_server: NatsProcess,
    producer: SureProducer,
    proof: Proof,
) -> None:
    publishing = asyncio.create_task(producer.publish(EVENTS))
    for victim in (sidecar, warehouse.process, nats_server.process):
        await freeze(victim, FROZEN_SECONDS)
    await publishing
    await proof.until_stored(producer)
    await until_health(sidecar, lambda health: health["status"] == "ok")


async def test_cut_connection_to_nats(
    settings: Settings,
    warehouse: Warehouse,
    nats_url: str,
    producer: SureProducer,
    proof: Proof,
) -> None:
    proxy = Proxy(int(nats_url.rpartition(":")[2]))
    await proxy.open()
    through = settings.model_copy(update={"nats_url": SecretStr(f"nats://127.0.0.1:{proxy.port}")})
    sidecar = SidecarProcess(
        through, CLICKHOUSE_PORT=str(warehouse.port), CLICKHOUSE_BATCH_TIMEOUT_MS="200"
    )
    try:
        await asyncio.to_thread(sidecar.start)
        publishing = asyncio.create_task(producer.publish(EVENTS))
        for _ in range(3):
            await asyncio.sleep(random.uniform(0.1, 0.6))
            proxy.cut()
            await until_health(sidecar, lambda h: h["dependencies"]["nats"] == "degraded")
            proxy.mend()
            await until_health(sidecar, lambda h: h["dependencies"]["nats"] == "ok")
        await publishing
        # Acknowledgements outlive a cut: what was committed is not delivered again after 30 s.
        await proof.until_stored(producer, 40)
    finally:
        await asyncio.to_thread(sidecar.stop)
        await proxy.close()


async def test_connection_that_nats_closes_for_good_ends_the_process(
    settings: Settings, nats_url: str
) -> None:
    proxy = Proxy(int(nats_url.rpartition(":")[2]))
    await proxy.open()
    through = settings.model_copy(update={"nats_url": SecretStr(f"nats://127.0.0.1:{proxy.port}")})
    sidecar = SidecarProcess(through)
    try:
        await asyncio.to_thread(sidecar.start)
        proxy.say_to_clients(b"-ERR 'Maximum Connections Exceeded'\r\n")
        await asyncio.to_thread(sidecar.wait_for_log, re.compile("closed a connection for good"))
        # A supervisor starts another one.
        assert await asyncio.to_thread(sidecar.wait) == 0
    finally:
        await asyncio.to_thread(sidecar.stop)
        await proxy.close()


async def test_full_disk(
    sidecar: SidecarProcess, warehouse: Warehouse, producer: SureProducer, proof: Proof
) -> None:
    with full_disk(warehouse):
        await producer.publish(EVENTS)
        # A limit of the process is another error of the system than a full disk.
        await until_waiting(sidecar, outage=Outage.OTHER if os.geteuid() else Outage.NO_SPACE)
        assert await proof.lag() == EVENTS
    await proof.until_stored(producer, 30)
    await until_health(sidecar, is_well)


@contextlib.contextmanager
def full_disk(warehouse: Warehouse) -> Iterator[None]:
    """As root the disk is full; anybody else forbids the server to write to any file."""
    if os.geteuid() == 0:
        filler = warehouse.folder / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65536)
        yield
        filler.unlink()
        return
    assert warehouse.process.pid is not None
    before = resource.prlimit(warehouse.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(warehouse.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    resource.prlimit(warehouse.process.pid, resource.RLIMIT_FSIZE, before)


# What ClickHouse answers, what the metrics call it, and the statements that break and mend it.
REFUSALS: list[tuple[str, Outage, tuple[str, ...], tuple[str, ...]]] = [
    (
        "TOO_MANY_PARTS",
        Outage.TOO_MANY_PARTS,
        (
            "SYSTEM STOP MERGES events",
            "ALTER TABLE events MODIFY SETTING parts_to_throw_insert = 2",
            "ALTER TABLE events MODIFY SETTING parts_to_delay_insert = 2",
        ),
        (
            "ALTER TABLE events RESET SETTING parts_to_throw_insert, parts_to_delay_insert",
            "SYSTEM START MERGES events",
        ),
    ),
    (
        "TABLE_IS_PERMANENTLY_READ_ONLY",
        Outage.READ_ONLY,
        ("ALTER TABLE events MODIFY SETTING table_readonly = 1",),
        ("ALTER TABLE events RESET SETTING table_readonly",),
    ),
    (
        "NOT_ENOUGH_SPACE",
        Outage.NO_SPACE,
        ("ALTER TABLE events MODIFY SETTING min_free_disk_bytes_to_perform_insert = 1e18",),
        ("ALTER TABLE events RESET SETTING min_free_disk_bytes_to_perform_insert",),
    ),
    (
        "UNKNOWN_TABLE",
        Outage.OTHER,
        ("RENAME TABLE metrics_timeseries TO away",),
        ("RENAME TABLE away TO metrics_timeseries",),
    ),
]


async def test_whatever_clickhouse_refuses_inserts_for_it_waits_and_goes_on(
    settings: Settings, sidecar: SidecarProcess, warehouse: Warehouse, proof: Proof
) -> None:
    with contextlib.closing(connect(warehouse.port, settings.clickhouse_database)) as client:
        for answer, outage, breaking, mending in REFUSALS:
            for statement in breaking:
                client.command(statement)
            producer = SureProducer(answer)
            await producer.open(settings.nats_url.get_secret_value())
            # More than one batch: some are told so by the parts that the ones before have made.
            publishing = asyncio.create_task(producer.publish(EVENTS // 2))
            await until_waiting(sidecar, answer, outage)
            await publishing
            for statement in mending:
                client.command(statement)
            await proof.until_stored(producer, 30)
            await producer.close()
    await until_health(sidecar, is_well)
    assert await waiting_seconds(sidecar) == {}


async def test_a_user_who_may_only_read_and_then_may_write(
    settings: Settings,
    warehouse: Warehouse,
    producer: SureProducer,
    proof: Proof,
) -> None:
    proxy = Proxy(warehouse.port)
    # What the profile of such a user does; the engine's own answer is the same.
    proxy.rewrite = lambda data: data.replace(b"POST /?", b"POST /?readonly=1&", 1)
    await proxy.open()
    sidecar = SidecarProcess(
        settings, CLICKHOUSE_PORT=str(proxy.port), CLICKHOUSE_BATCH_TIMEOUT_MS="200"
    )
    try:
        await asyncio.to_thread(sidecar.start, wait_ready=False)
        await producer.publish(100)
        await until_waiting(sidecar, "READONLY", Outage.READ_ONLY)
        proxy.rewrite = lambda data: data
        await proof.until_stored(producer, 30)
        await until_health(sidecar, is_well)
    finally:
        await asyncio.to_thread(sidecar.stop)
        await proxy.close()


async def test_a_hang_that_outlasts_every_timeout(
    settings: Settings, warehouse: Warehouse, producer: SureProducer, proof: Proof
) -> None:
    patches = {
        "stream_api.warehouse": {"READ_TIMEOUT_SECONDS": 3},
        "stream_api.streams": {"SINK_ACK_WAIT_SECONDS": 2},
        "stream_api.sink": {"RENEW_SECONDS": 0.5},
    }
    sidecar = SidecarProcess(
        settings,
        PATCHED,
        PATCHES=json.dumps(patches),
        CLICKHOUSE_PORT=str(warehouse.port),
        CLICKHOUSE_BATCH_TIMEOUT_MS="100",
    )
    try:
        await asyncio.to_thread(sidecar.start)
        publishing = asyncio.create_task(producer.publish(EVENTS))
        # Inserts that are given up on may be done by the server all the same, and are sent again.
        freezing = asyncio.create_task(freeze(warehouse.process, 2 * FROZEN_SECONDS))
        await until_waiting(sidecar, outage=Outage.UNREACHABLE)
        await freezing
        # The sink's own messages are given to it once more, while it still holds them.
        await freeze(sidecar, FROZEN_SECONDS)
        await publishing
        await proof.until_stored(producer, 30)
        await proof.until_acknowledged()
        await until_health(sidecar, is_well)
    finally:
        await asyncio.to_thread(sidecar.stop)


async def test_memory_is_bounded_while_a_backlog_grows(
    sidecar: SidecarProcess, warehouse: Warehouse, producer: SureProducer, proof: Proof
) -> None:
    # 900 bytes an event beside the members: the bound is in bytes, whatever an event's size.
    freezing = asyncio.create_task(freeze(warehouse.process, FROZEN_SECONDS))
    for _ in range(60):
        await producer.plain(1000, padding=900)
    await freezing
    await until_health(sidecar, is_well, 60)
    await proof.until_acknowledged()
    assert memory_kb([sidecar.pid], "VmHWM") / 1024 < MEMORY_MB


def is_well(health: dict[str, Any]) -> bool:
    """Everything works, and nothing was put aside on the way."""
    sink = health["sink"]
    return health["status"] == "ok" and "waitingFor" not in sink and not sink["deadLetters"]


async def until_waiting(
    sidecar: SidecarProcess, why: str = "", outage: Outage = Outage.OTHER
) -> None:
    """`/health` and the metrics say what the sink waits for, and that it tries."""

    def waits(health: dict[str, Any]) -> bool:
        waiting_for = health["sink"].get("waitingFor")
        return health["status"] == "degraded" and waiting_for is not None and why in waiting_for

    await until_health(sidecar, waits)
    assert await asyncio.to_thread(samples, sidecar.url, "analytics_sink_retries_total") != {}
    assert (await waiting_seconds(sidecar)).keys() == {outage.value}


async def waiting_seconds(sidecar: SidecarProcess) -> dict[str, float]:
    """How long the sink has been waiting, by its reason; empty when it does not wait."""
    return await asyncio.to_thread(samples, sidecar.url, "analytics_sink_waiting_seconds")
