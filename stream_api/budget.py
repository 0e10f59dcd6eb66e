"""How many queries a company may cause in the warehouse: a token bucket a company.

Only computed answers cost a token; one from the cache costs the warehouse nothing.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

# A dashboard that opens asks for many figures at once; its bucket holds this part of a minute.
BURST_SECONDS = 6.0
MAX_COMPANIES = 10_000


def burst_of(per_minute: int) -> float:
    """Tokens that a full bucket holds."""
    return max(1.0, per_minute * BURST_SECONDS / 60)


class Budget(Protocol):
    """Who may still ask."""

    async def take(self, company_id: str) -> float:
        """Take a token. Returns 0, or the seconds until there is one."""


class LocalBudget:
    """Buckets of this process; each is full at first."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._burst = burst_of(per_minute)
        self._clock = clock
        # Company → tokens left and when that was; the longest unused are full and may be dropped.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def take(self, company_id: str) -> float:
        now = self._clock()
        tokens, since = self._buckets.pop(company_id, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._rate)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._rate
        self._buckets[company_id] = (tokens - 1 if not wait else tokens, now)
        if len(self._buckets) > MAX_COMPANIES:
            self._buckets.popitem(last=False)
        return wait
