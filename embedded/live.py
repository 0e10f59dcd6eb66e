"""The line under the table: what went through the stream in the last seconds.

It asks JetStream for its counters and its last message instead of subscribing, so that watching
costs the same at ten events a second and at a hundred thousand.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import nats
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from config.names import EVENTS_STREAM
from embedded.probes import get

FIRST_LOOK_SECONDS = 0.2
LOOK_SECONDS = 10.0
SHOWN_CHARACTERS = 100
# In this order; the first that an event has is what it is about.
SUBJECTS_OF_INTEREST = ("metricName", "flag", "dimension", "program")
VALUES_OF_INTEREST = ("value", "ratio", "score")


@dataclass(frozen=True)
class Look:
    """The stream at one moment. `last` describes its last message."""

    sequence: int
    last: str
    at: float


async def watch(
    nats_url: str, api: tuple[str, int], say: Callable[[str], None], first: Callable[[str], None]
) -> None:
    """Call `first` with the first event seen, then say a line every few seconds when any came."""
    connection = await nats.connect(
        nats_url, name="make-up", max_reconnect_attempts=-1, error_cb=_say_nothing
    )
    try:
        stream = connection.jetstream()
        before = await _look(stream)
        while True:
            now = await _look(stream)
            if now is not None and before is not None and now.sequence > before.sequence:
                first(now.last)
                break
            before = before or now
            await asyncio.sleep(FIRST_LOOK_SECONDS)
        before = now
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = await _look(stream)
            if now is None or now.sequence == before.sequence:
                continue
            if now.sequence > before.sequence:  # else the stream was made anew
                behind = await asyncio.to_thread(_events_behind, *api)
                say(_line(before, now, behind))
            before = now
    finally:
        await connection.close()


async def _look(stream: JetStreamContext) -> Look | None:
    """None while the server is away or the stream is not there or empty."""
    try:
        state = (await stream.stream_info(EVENTS_STREAM)).state
        if state.last_seq == 0 or state.messages == 0:
            return Look(state.last_seq, "", time.monotonic())
        message = await stream.get_msg(EVENTS_STREAM, seq=state.last_seq)
    except (NatsError, TimeoutError):
        return None
    return Look(
        state.last_seq, describe(message.subject or "", message.data or b""), time.monotonic()
    )


async def _say_nothing(_: Exception) -> None:
    """The supervisor says that the server died; a client's own words about it add nothing."""


def _line(before: Look, now: Look, behind: int | None) -> str:
    rate = (now.sequence - before.sequence) / (now.at - before.at)
    stored = "" if behind is None else f", {behind} still to be stored"
    clock = datetime.now().astimezone().strftime("%H:%M:%S")
    return (
        f"{clock}  +{now.sequence - before.sequence} events ({rate:.1f}/s), "
        f"{now.sequence} in all{stored}; last: {now.last}"
    )


def describe(subject: str, payload: bytes) -> str:
    """An event in a few words: `metrics.calculated acme-impact integration_score 0.83`."""
    words = [subject]
    try:
        event = json.loads(payload)
        if "companyId" not in event and isinstance(event.get("data"), dict):
            event = event["data"]
        words.append(event["companyId"])
        words += [event[key] for key in SUBJECTS_OF_INTEREST if event.get(key)][:1]
        words += [event[key] for key in VALUES_OF_INTEREST if event.get(key) is not None][:1]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        words.append("(not an event)")
    text = " ".join(map(str, words))[:SHOWN_CHARACTERS]
    # Whoever may publish must not steer the terminal of who watches.
    return "".join(one if " " <= one <= "~" else "?" for one in text)


def _events_behind(host: str, port: int) -> int | None:
    answer = get(host, port, "/health")
    try:
        return int(json.loads(answer[1])["sink"]["lagEvents"]) if answer else None
    except (ValueError, TypeError, KeyError):
        return None
