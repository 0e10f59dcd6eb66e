"""Ids that lead from a call or an event to its line in the log."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import httpx
import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from config.settings import Settings
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess
from tests.live.stream.unread import UnreadStream
from tests.live.waiting import until

HEADER = "X-Request-Id"
MADE = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def sidecar(settings: Settings) -> Iterator[SidecarProcess]:
    """A sidecar that stores soon and cuts slow readers early."""
    with SidecarProcess(
        settings, CLICKHOUSE_BATCH_TIMEOUT_MS="100", STREAM_BUFFER_BYTES="65536"
    ) as process:
        yield process


def test_an_answer_names_its_request_and_a_fault_is_logged_under_that_name(
    sidecar: SidecarProcess, pg: psycopg.Connection
) -> None:
    def named(path: str, given: str | None = None) -> tuple[int, str]:
        headers = {HEADER: given} if given else {}
        answer = httpx.get(f"{sidecar.url}{path}", headers=headers)
        return answer.status_code, answer.headers[HEADER]

    assert named("/health", "proxy-7/1") == (200, "proxy-7/1")
    assert named("/nowhere", "proxy-7/2") == (404, "proxy-7/2")
    status, made = named("/stream/updates")
    assert (status, bool(MADE.fullmatch(made))) == (400, True)
    # It could be read as a field of its own.
    _, made = named("/health", "a event=forged")
    assert MADE.fullmatch(made)

    pg.execute("ALTER TABLE cohorts RENAME TO lost")
    for given in (None, "proxy-7/3"):
        status, name = named("/cohort?companyId=acme", given)
        assert status == 500
        line = sidecar.wait_for_log(re.compile(rf" request={re.escape(name)}( |$)")).string
        assert "fault of the server method=GET path=/cohort " in line


async def test_a_dead_letter_is_logged_under_the_id_of_its_event(
    sidecar: SidecarProcess, producer: Producer, ch: Client
) -> None:
    await producer.raw(b"no event", "metrics.broken")
    line = await asyncio.to_thread(
        sidecar.wait_for_log, re.compile(r"dead letter event=(metrics\.broken-1-\d+) .*")
    )
    assert "reason=not_json" in line[0]
    kept = await until(
        lambda: ch.query("SELECT dead_letter_id FROM dead_letters").result_rows, bool
    )
    assert kept == [(line[1],)]


async def test_a_stream_that_is_cut_is_logged_under_the_name_of_its_request(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    unread = await asyncio.to_thread(UnreadStream, sidecar.url, "companyId=acme")
    for _ in range(4):
        await producer.publish("acme", pad="x" * 240_000)
    line = await asyncio.to_thread(
        sidecar.wait_for_log, re.compile(r"stream cut company=acme .*request=(\S+) time=")
    )
    head = (await asyncio.to_thread(unread.rest)).partition(b"\r\n\r\n")[0].decode().lower()
    assert f"{HEADER}: {line[1]}".lower() in head
