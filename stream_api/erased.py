"""Companies of which something was erased: their recent events must leave this instance's memory.

The ledger in Postgres is read every few seconds and says it: there is no message that an instance
could miss. One that starts later has an empty memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from stream_api.platform import Platform, PlatformAwayError

logger = logging.getLogger(__name__)

# An erasure must be seen everywhere within 60 s.
POLL_SECONDS = 5.0


class ErasedCompanies:
    """Calls `on_erased` with the company of each erasure, once an erasure or re-application."""

    def __init__(self, platform: Platform, on_erased: Callable[[str], None]) -> None:
        self._platform = platform
        self._on_erased = on_erased
        # Of the last day, as many as the statement returns.
        self._seen: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            try:
                await self.refresh()
            except PlatformAwayError as error:
                logger.debug("the ledger of erasures is looked at later: %s", error)
            await asyncio.sleep(POLL_SECONDS)

    async def refresh(self) -> None:
        """Read the ledger once.

        Raises:
            PlatformAwayError: Postgres did not answer.
        """
        rows = await self._platform.rows("select_erased_companies", {})
        for company_id in {str(company) for mark, company in rows if mark not in self._seen}:
            self._on_erased(company_id)
        self._seen = frozenset(str(mark) for mark, _ in rows)
