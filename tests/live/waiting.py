"""Waiting for a state that only a query can show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from nats.js import JetStreamContext

from config.names import EVENTS_STREAM, SINK_CONSUMER

POLL_SECONDS = 0.05
T = TypeVar("T")


async def until(read: Callable[[], T], wanted: Callable[[T], bool], seconds: float = 30) -> T:
    """Poll `read` in a thread until `wanted` accepts what it says; fails with the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        value = await asyncio.to_thread(read)
        if wanted(value):
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        await asyncio.sleep(POLL_SECONDS)


async def until_awaited(
    read: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], seconds: float = 30
) -> T:
    """As `until`, for what is read on the test's own event loop."""
    async with asyncio.timeout(seconds):
        while True:
            value = await read()
            if wanted(value):
                return value
            await asyncio.sleep(POLL_SECONDS)


async def until_in_stream(js: JetStreamContext, seq: int) -> None:
    """Wait until the stream counts a message of that number.

    A flushed publish has reached the server, which hands it on to the stream; what is asked of the
    stream meanwhile, a purge say, may come before it.
    """
    await until_awaited(
        partial(js.stream_info, EVENTS_STREAM), lambda info: info.state.last_seq >= seq
    )


async def until_acknowledged(js: JetStreamContext, seq: int, seconds: float = 30) -> None:
    """Wait until the sink has acknowledged every message of the stream up to `seq`.

    By its number: the server takes a message before the stream counts it, so that a consumer with
    nothing pending may not have heard of it yet.
    """
    await until_awaited(
        partial(js.consumer_info, EVENTS_STREAM, SINK_CONSUMER),
        lambda info: info.ack_floor is not None and info.ack_floor.stream_seq >= seq,
        seconds,
    )
