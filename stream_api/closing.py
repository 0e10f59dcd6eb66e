"""Sockets that are closed unread, a few in each turn of the event loop.

The kernel takes 0.1 ms to throw away what a socket holds, and many clients that stall together pass
the limit in the same write: those that read would wait for all of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from config.logging import fields
from stream_api.connection import Connection

logger = logging.getLogger(__name__)

# About 1 ms.
CLOSED_A_TURN = 8


class Closing:
    """Connections that have ended and are not closed yet; they get nothing more."""

    def __init__(self) -> None:
        self._waiting: deque[Connection] = deque()

    def add(self, connection: Connection) -> None:
        """Close it soon."""
        self._waiting.append(connection)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._close_some)

    def _close_some(self) -> None:
        for _ in range(min(CLOSED_A_TURN, len(self._waiting))):
            connection = self._waiting.popleft()
            # Here and not where it was decided, which is in the midst of a write to all.
            logger.info(
                "stream cut",
                extra=fields(
                    company=connection.company_id,
                    reason=connection.ended,
                    unsent_bytes=connection.unsent_bytes(),
                    request=connection.request_id,
                ),
            )
            connection.abort()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._close_some)
