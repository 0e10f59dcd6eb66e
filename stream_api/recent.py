"""Values that may be a moment old: loaded once for everybody who asks within that moment."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """Loads a key's value at most once in `seconds`; askers at the same time share one load.

    Holds at most `limit` keys, the most recently loaded. A load that fails is told to those who
    waited for it and repeated for the next who asks.
    """

    def __init__(
        self,
        load: Callable[[str], Coroutine[Any, Any, V]],
        seconds: float,
        limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._seconds = seconds
        self._limit = limit
        self._clock = clock
        # The age counts from the start of a load: what is committed after it may not be in it.
        self._loads: OrderedDict[str, tuple[float, asyncio.Task[V]]] = OrderedDict()

    async def get(self, key: str) -> V:
        """The value, at most `seconds` old when it is not still being loaded."""
        known = self._loads.get(key)
        if known is not None and self._is_good(*known):
            return await asyncio.shield(known[1])
        task = asyncio.create_task(self._load(key))
        task.add_done_callback(_take_exception)
        self._loads[key] = (self._clock(), task)
        self._loads.move_to_end(key)
        if len(self._loads) > self._limit:
            self._loads.popitem(last=False)
        # Shielded: one asker who leaves must not end the load of the others.
        return await asyncio.shield(task)

    def forget(self, key: str) -> None:
        """Load anew for the next who asks; also when a load is under way, which may be too old."""
        self._loads.pop(key, None)

    def _is_good(self, started: float, task: asyncio.Task[V]) -> bool:
        if self._clock() - started > self._seconds:
            return False
        return not task.done() or (not task.cancelled() and task.exception() is None)


def _take_exception(task: asyncio.Task[Any]) -> None:
    """Askers may all have gone; their exception is not a fault that nobody looked at."""
    if not task.cancelled():
        task.exception()
