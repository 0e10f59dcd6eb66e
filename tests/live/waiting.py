"""Waiting for a state that only a query can show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

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
