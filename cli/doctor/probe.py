"""One event through the whole system: published as a producer would, streamed, stored.

It belongs to a company of its own and is no metric, so it is in nobody's figures; it leaves with
the retention.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid

import httpx
from httpx_sse import SSEError, connect_sse
from nats.errors import Error as NatsError

from cli.doctor.check import Finding, failed, ok
from cli.doctor.runbook import Entry
from cli.doctor.servers import ANSWER_SECONDS, DOCTOR_COMPANY, Servers, certificates
from cli.refusal import Refused, one_line
from events.event_id import EventId
from sql import statement

SUBJECT = "vis.doctor_probe"
STREAMED_SECONDS = 5.0
POLL_SECONDS = 0.2


def seconds_allowed(servers: Servers) -> float:
    """The longest that a probe may take: the sink stores after its batch timeout."""
    return STREAMED_SECONDS + servers.settings.clickhouse_batch_timeout_ms / 1000 + 10


def event_goes_through(servers: Servers) -> Finding:
    """Publish one event; it must come by the stream, and be in ClickHouse after a batch."""
    mark = uuid.uuid4().hex
    began = time.monotonic()
    try:
        event_id = _publish_and_see(servers, mark)
    except (httpx.HTTPError, SSEError) as error:
        return failed(
            f"published on {SUBJECT}, but it did not come by {servers.url}: "
            f"{one_line(error) or type(error).__name__}",
            Entry.NO_EVENTS,
        )
    if event_id is None:
        return failed(f"the stream at {servers.url} ended before the event", Entry.NO_EVENTS)
    streamed = time.monotonic() - began
    if not servers.settings.clickhouse_enabled:
        return ok(f"seen after {streamed * 1000:.0f} ms")
    deadline = began + seconds_allowed(servers) - 2
    while time.monotonic() < deadline:
        if _is_stored(servers, event_id):
            stored = time.monotonic() - began
            return ok(f"seen after {streamed * 1000:.0f} ms, stored after {stored:.1f} s")
        time.sleep(POLL_SECONDS)
    return failed(
        f"{event_id} was seen after {streamed * 1000:.0f} ms, but is not in ClickHouse after "
        f"{time.monotonic() - began:.0f} s",
        Entry.NOT_STORED,
    )


def _publish_and_see(servers: Servers, mark: str) -> EventId | None:
    """The id under which the event came; None when the stream ended before it."""
    timeout = httpx.Timeout(ANSWER_SECONDS, read=STREAMED_SECONDS)
    with (
        httpx.Client(
            timeout=timeout, headers=servers.authorization(), verify=certificates()
        ) as client,
        connect_sse(
            client, "GET", f"{servers.url}/stream/updates", params={"companyId": DOCTOR_COMPANY}
        ) as source,
    ):
        source.response.raise_for_status()
        for event in source.iter_sse():
            if event.event == "connected":
                asyncio.run(_publish(servers, mark))
            elif mark in event.data:
                return EventId.parse(event.id)
    return None


async def _publish(servers: Servers, mark: str) -> None:
    event = json.dumps({"companyId": DOCTOR_COMPANY, "type": SUBJECT, "probe": mark})
    async with servers.nats() as connection:
        try:
            await connection.publish(SUBJECT, event.encode())
            await connection.flush(ANSWER_SECONDS)
        except (NatsError, TimeoutError) as error:
            raise Refused(f"NATS did not take the event: {one_line(error)}") from None


def _is_stored(servers: Servers, event_id: EventId) -> bool:
    with servers.clickhouse() as ch:
        [(rows,)] = ch.query(
            statement("clickhouse/select_event_exists"),
            parameters={
                "company_id": DOCTOR_COMPANY,
                "received_ms": event_id.ms,
                "seq": event_id.seq,
                "event_id": str(event_id),
            },
        ).result_rows
    return bool(rows)
