"""The proof of one event, from the stream to its rows."""

from __future__ import annotations

from typing import Any

import httpx
from clickhouse_connect.driver.client import Client

from config.names import EVENTS_STREAM, SINK_CONSUMER
from config.settings import Settings
from events.event_id import EventId
from tests.live.api import SECRET, fetch, get, post, token
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess, open_stream
from tests.live.waiting import until, until_in_stream


def prove(sidecar: SidecarProcess, event_id: str, company: str = "c", **extra: Any) -> Any:
    return get(f"{sidecar.url}/events/{event_id}/proof", companyId=company, **extra)


async def publish(sidecar: SidecarProcess, producer: Producer) -> str:
    """A metric event; its id as a live stream shows it."""
    async with open_stream(sidecar.url, "c") as stream:
        await stream.until_connected()
        await producer.publish("c", metricName="m", value=1, userId="u")
        return (await stream.next()).id


async def test_a_stored_event_is_proven_in_every_place(
    sidecar: SidecarProcess, producer: Producer, ch: Client
) -> None:
    event_id = await publish(sidecar, producer)
    proof = await until(lambda: prove(sidecar, event_id), lambda p: p["verdict"] == "stored")
    assert proof["stream"]["present"]
    assert proof["stream"]["sequence"] == 1
    assert proof["live"] == {"published": True, "inRing": True}
    assert proof["events"] == {"rows": 1, "rowsOnDisk": 1}
    assert proof["metricsTimeseries"] == {"rows": 1}
    assert proof["deadLetter"] is None
    await until(lambda: prove(sidecar, event_id), lambda p: p["sink"]["acknowledged"])
    # Delivered again: two rows on disk, one for a reader.
    ch.command("SYSTEM STOP MERGES events")
    await producer.nats.jetstream().delete_consumer(EVENTS_STREAM, SINK_CONSUMER)
    proof = await until(lambda: prove(sidecar, event_id), lambda p: p["events"]["rowsOnDisk"] == 2)
    assert (proof["verdict"], proof["events"]["rows"]) == ("stored", 1)
    # Out of the stream, the rows still prove it.
    await producer.nats.jetstream().purge_stream(EVENTS_STREAM)
    proof = prove(sidecar, event_id)
    assert (proof["verdict"], proof["stream"]["present"]) == ("stored", False)
    assert proof["metricsTimeseries"] == {"rows": 1}


async def test_an_event_that_was_acknowledged_and_has_no_row_is_missing(
    sidecar: SidecarProcess, producer: Producer, ch: Client
) -> None:
    event_id = await publish(sidecar, producer)
    await until(lambda: prove(sidecar, event_id), lambda p: p["sink"]["acknowledged"])
    ch.command("TRUNCATE TABLE metrics_timeseries")
    assert prove(sidecar, event_id)["verdict"] == "missing"
    ch.command("TRUNCATE TABLE events")
    proof = prove(sidecar, event_id)
    assert (proof["verdict"], proof["events"]["rows"]) == ("missing", 0)


async def test_an_event_that_waits_for_the_sink_is_pending(
    settings: Settings, producer: Producer
) -> None:
    with SidecarProcess(settings, CLICKHOUSE_BATCH_TIMEOUT_MS="600000") as sidecar:
        event_id = await publish(sidecar, producer)
        proof = prove(sidecar, event_id)
        assert (proof["verdict"], proof["sink"]["acknowledged"]) == ("pending", False)


async def test_a_dead_letter_is_the_proof_of_what_was_not_accepted(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    await producer.raw(b'{"companyId":"c","timestamp":"never"}')
    answer = await until(lambda: get(f"{sidecar.url}/dlq"), lambda a: a["total"] == 1)
    event_id = answer["letters"][0]["id"]
    proof = prove(sidecar, event_id)
    assert proof["verdict"] == "dead_letter"
    assert proof["deadLetter"]["state"] == "open"
    assert proof["deadLetter"]["reason"] == "bad_timestamp"
    assert proof["live"]["published"] is False
    await post(f"{sidecar.url}/dlq/discard", reason="bad_timestamp", why="noise")
    assert prove(sidecar, event_id)["deadLetter"]["state"] == "discarded"


async def test_another_companys_event_is_as_if_it_never_was(
    settings: Settings, producer: Producer
) -> None:
    with SidecarProcess(settings, JWT_SECRET=SECRET, CLICKHOUSE_BATCH_TIMEOUT_MS="200") as sidecar:
        await producer.publish("c", n=1)
        await producer.raw(b'{"companyId":"c","timestamp":"never"}')
        await until_in_stream(producer.nats.jetstream(), 2)
        message = await producer.nats.jetstream().get_msg(EVENTS_STREAM, seq=1, direct=True)
        assert message.time is not None
        ms = int(message.time.timestamp() * 1000)
        url = f"{sidecar.url}/events"
        candidates = [str(EventId("metrics.calculated", 1, at)) for at in (ms - 1, ms, ms + 1)]
        own = await until(
            lambda: {
                one: httpx.get(f"{url}/{one}/proof", headers=token("c")).status_code
                for one in candidates
            },
            lambda codes: 200 in codes.values(),
        )
        (event_id,) = [one for one, code in own.items() if code == 200]
        other = await fetch(f"{url}/{event_id}/proof", headers=token("d"))
        never = await fetch(f"{url}/metrics.calculated-7-1/proof", headers=token("d"))
        assert (other.status_code, never.status_code) == (404, 404)
        assert other.json()["message"].replace(event_id, "") == never.json()["message"].replace(
            "metrics.calculated-7-1", ""
        )
        named = await fetch(f"{url}/{event_id}/proof?companyId=c", headers=token("d"))
        assert named.status_code == 403
        letters = f"{sidecar.url}/dlq"
        admin = token(role="system_admin")
        found = await until(lambda: get(letters, admin), lambda a: a["total"] == 1)
        letter_id = found["letters"][0]["id"]
        assert (await fetch(f"{url}/{letter_id}/proof", headers=token("d"))).status_code == 404
        assert (await fetch(f"{url}/nonsense/proof", headers=token("d"))).status_code == 400
