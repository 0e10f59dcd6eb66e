"""The subjects of the stream of events: a setting that widens, on a real server."""

from __future__ import annotations

from nats.js import JetStreamContext

from config.names import EVENTS_STREAM
from config.settings import load_settings
from stream_api.streams import ensure_streams
from tests.live.producer import Producer
from tests.live.waiting import until_in_stream


async def taken(js: JetStreamContext, **variables: str) -> set[str]:
    """What the stream takes after a start with these variables."""
    await ensure_streams(js, load_settings(variables, None))
    return set((await js.stream_info(EVENTS_STREAM)).config.subjects or [])


async def test_a_setting_that_widens_and_never_narrows(producer: Producer) -> None:
    js = producer.nats.jetstream()
    few, everything = "metrics.calculated, vis.>", {"metrics.>", "journey.>", "q2q.>", "sroi.>"}
    assert await taken(js, EVENT_SUBJECTS=few) == {"metrics.calculated", "vis.>"}
    await producer.publish("c")
    await until_in_stream(js, 1)
    # The server would refuse subjects that overlap.
    assert await taken(js) == everything | {"vis.>"}
    assert await taken(js, EVENT_SUBJECTS=few) == everything | {"vis.>"}
    config = (await js.stream_info(EVENTS_STREAM)).config
    # An operator's own stays too.
    await js.update_stream(config.evolve(subjects=[*(config.subjects or []), "orders.>"]))
    assert await taken(js) == everything | {"vis.>", "orders.>"}
    assert (await js.stream_info(EVENTS_STREAM)).state.messages == 1
