"""Postgres as the sidecar sees it: short statements on a small pool that outlives an outage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from config.settings import Settings
from sql import statement

POOL_CONNECTIONS = 4
ANSWER_SECONDS = 3.0


class PlatformAwayError(RuntimeError):
    """Postgres could not be reached; the same call may succeed later."""


class Platform:
    """Bound statements on the platform database."""

    def __init__(self, settings: Settings) -> None:
        self._pool = AsyncConnectionPool(
            settings.database_url.get_secret_value(),
            kwargs={
                "autocommit": True,
                "connect_timeout": int(ANSWER_SECONDS),
                "options": f"-c statement_timeout={int(ANSWER_SECONDS * 1000)}",
                "application_name": "analytics-sidecar",
            },
            min_size=1,
            max_size=POOL_CONNECTIONS,
            timeout=ANSWER_SECONDS,
            # A connection that died with its server is found before it is used.
            check=AsyncConnectionPool.check_connection,
            open=False,
        )

    async def open(self) -> None:
        """Start connecting in the background; does not wait for Postgres."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def rows(self, name: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Rows of the statement `sql/postgres/<name>.sql` with bound parameters.

        Raises:
            PlatformAwayError: Postgres did not answer in time or not at all.
        """
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(statement(f"postgres/{name}"), parameters)
                return await cursor.fetchall()
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise PlatformAwayError(str(error).splitlines()[0]) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """A connection in a transaction, committed at the end of the block.

        Raises:
            PlatformAwayError: Postgres did not answer in time or not at all.
        """
        try:
            async with self._pool.connection() as connection, connection.transaction():
                yield connection
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise PlatformAwayError(str(error).splitlines()[0]) from error
