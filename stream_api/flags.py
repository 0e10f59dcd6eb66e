"""Companies whose streaming is switched off: `companies.features.streaming` is false.

Read from Postgres every few seconds by each instance. While Postgres is away the last answer holds:
an outage of it must not end streams. A company that Postgres does not know has streaming on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from stream_api.platform import Platform, PlatformAwayError

logger = logging.getLogger(__name__)

POLL_SECONDS = 5.0


class StreamingFlags:
    """The set of companies that are switched off, kept up to date."""

    def __init__(self, platform: Platform, on_switched_off: Callable[[str], None]) -> None:
        self._platform = platform
        self._on_switched_off = on_switched_off
        self._off: frozenset[str] = frozenset()

    def is_on(self, company_id: str) -> bool:
        """True unless the company's streaming is switched off."""
        return company_id not in self._off

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            try:
                await self.refresh()
            except PlatformAwayError as error:
                logger.debug("flags stay as they were: %s", error)
            await asyncio.sleep(POLL_SECONDS)

    async def refresh(self) -> None:
        """Read the flags once; ends the streams of companies that were switched off.

        Raises:
            PlatformAwayError: Postgres did not answer.
        """
        rows = await self._platform.rows("select_streaming_off", {})
        off = frozenset(str(row[0]) for row in rows)
        newly, self._off = off - self._off, off
        for company_id in newly:
            self._on_switched_off(company_id)
