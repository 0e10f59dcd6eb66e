"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

# As long as a task may take to close what it has open, before it is told again.
REPEAT_SECONDS = 1.0


async def end_tasks(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel until all have ended; what they raised is theirs.

    Once is not enough: Python 3.11 loses a cancellation that comes in the moment in which what
    `asyncio.wait_for` waits for is done, and a task with a loop would go on for ever.
    """
    ended = list(tasks)
    left = set(ended)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=REPEAT_SECONDS)
    await asyncio.gather(*ended, return_exceptions=True)
