"""ClickHouse as the sidecar sees it: bound queries, raw inserts, and one kind of error for "away".

The client is opened at the first use, so that the sidecar starts while ClickHouse is away.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError

from config.settings import Settings
from sql import statement

logger = logging.getLogger(__name__)

# `final`: no reader sees an event twice, also between a redelivery and the next merge.
READ_SETTINGS: dict[str, Any] = {
    "final": 1,
    "max_execution_time": 20,
    "max_memory_usage": 1_000_000_000,
    "max_result_rows": 1_000_000,
    # A server whose user is read-only stops a query when its client hangs up; any other is told to.
    "cancel_http_readonly_queries_on_client_close": 1,
}
CONNECTIONS = 16
PIECE_BYTES = 256 * 1024
CONNECT_TIMEOUT_SECONDS = 3
# Longer than max_execution_time: the server's own error says more than a cut connection.
READ_TIMEOUT_SECONDS = 60

# The engine refuses these rows, however often they are sent. Every other code is an outage: the
# batch waits and nothing is put aside. Source: ClickHouse, src/Common/ErrorCodes.cpp.
REFUSED_ROW_CODES = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        25,  # CANNOT_PARSE_ESCAPE_SEQUENCE
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        131,  # TOO_LARGE_STRING_SIZE
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        469,  # VIOLATED_CONSTRAINT
    }
)

# The query met one of its limits. It is a bound, no outage; the same codes of an insert are one.
LIMIT_CODES = frozenset(
    {
        158,  # TOO_MANY_ROWS
        159,  # TIMEOUT_EXCEEDED
        160,  # TOO_SLOW
        241,  # MEMORY_LIMIT_EXCEEDED
        307,  # TOO_MANY_BYTES
        396,  # TOO_MANY_ROWS_OR_BYTES
    }
)


class Outage(StrEnum):
    """Why the sink has to wait; a closed list, for metrics and alerts."""

    UNREACHABLE = "unreachable"
    READ_ONLY = "read_only"
    NO_SPACE = "no_space"
    TOO_MANY_PARTS = "too_many_parts"
    NATS = "nats"
    OTHER = "other"


# Source: as above. Every other code is `OTHER`, and no code means that nobody answered.
OUTAGES = {
    None: Outage.UNREACHABLE,
    164: Outage.READ_ONLY,  # READONLY: the user or the server
    242: Outage.READ_ONLY,  # TABLE_IS_READ_ONLY: a replica without its Keeper
    774: Outage.READ_ONLY,  # TABLE_IS_PERMANENTLY_READ_ONLY: a disk, or the table's own setting
    243: Outage.NO_SPACE,  # NOT_ENOUGH_SPACE
    252: Outage.TOO_MANY_PARTS,
}
NO_SPACE_WORDS = "No space left on device"


class WarehouseAwayError(RuntimeError):
    """ClickHouse could not be reached or could not serve; the same call may succeed later."""

    @property
    def outage(self) -> Outage:
        """What kind of outage, by the error that it was raised from."""
        if NO_SPACE_WORDS in str(self):
            return Outage.NO_SPACE
        return OUTAGES.get(getattr(self.__cause__, "code", None), Outage.OTHER)


class QueryLimitError(WarehouseAwayError):
    """The query needed more time, memory or rows than it may have."""


class RowsRefusedError(RuntimeError):
    """ClickHouse refused the rows themselves; `code` is the engine's."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Warehouse:
    """Bound reads and raw writes on the warehouse of `settings`."""

    def __init__(self, settings: Settings, connections: int = CONNECTIONS) -> None:
        self._settings = settings
        self._connections = connections
        self._client: AsyncClient | None = None
        self._opening = asyncio.Lock()
        self._kills: set[asyncio.Task[None]] = set()

    async def rows(
        self, name: str, parameters: Mapping[str, Any], **settings: Any
    ) -> Sequence[Sequence[Any]]:
        """Rows of the statement `sql/clickhouse/<name>.sql` with bound parameters.

        Cancelled, it stops the query on the server too.

        Raises:
            QueryLimitError: it met a limit of READ_SETTINGS or `settings`.
            WarehouseAwayError: no answer, or the engine's error with its code.
        """
        client = await self._open()
        query_id = str(uuid.uuid4())
        try:
            result = await client.query(
                statement(f"clickhouse/{name}"),
                parameters=dict(parameters),
                settings={**READ_SETTINGS, **settings, "query_id": query_id},
            )
        except asyncio.CancelledError:
            self._kill(client, query_id)
            raise
        except (ClickHouseError, OSError, TimeoutError) as error:
            if getattr(error, "code", None) in LIMIT_CODES:
                raise QueryLimitError(_first_line(error)) from error
            raise WarehouseAwayError(_first_line(error)) from error
        return result.result_rows

    async def insert_json_rows(self, table: str, block: bytes | bytearray, **settings: Any) -> None:
        """Insert rows given as JSON lines; returns once the server has committed them.

        The block must not change meanwhile.

        Raises:
            RowsRefusedError: the rows themselves can't be stored.
            WarehouseAwayError: everything else; the rows may be sent again.
        """
        client = await self._open()
        try:
            await client.raw_insert(
                table, insert_block=_pieces(block), fmt="JSONEachRow", settings=settings
            )
        except (ClickHouseError, OSError, TimeoutError) as error:
            code = getattr(error, "code", None)
            if code in REFUSED_ROW_CODES:
                raise RowsRefusedError(_first_line(error), int(code)) from error
            raise WarehouseAwayError(_first_line(error)) from error

    async def ping(self) -> bool:
        """True when a query is answered."""
        try:
            await self.rows("select_one", {})
        except WarehouseAwayError:
            return False
        return True

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*self._kills)
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _kill(self, client: AsyncClient, query_id: str) -> None:
        """Stop a query that nobody waits for, in a task of its own: the caller is cancelled."""

        async def kill() -> None:
            try:
                await client.query(statement("clickhouse/kill_query"), {"query_id": query_id})
            except (ClickHouseError, OSError, TimeoutError) as error:
                # It ends by max_execution_time.
                logger.warning("a query of a client that has gone runs on: %s", _first_line(error))

        task = asyncio.create_task(kill())
        self._kills.add(task)
        task.add_done_callback(self._kills.discard)

    async def _open(self) -> AsyncClient:
        async with self._opening:
            if self._client is None:
                s = self._settings
                try:
                    self._client = await clickhouse_connect.get_async_client(
                        host=s.clickhouse_host,
                        port=s.clickhouse_port,
                        username=s.clickhouse_user,
                        password=s.clickhouse_password.get_secret_value(),
                        database=s.clickhouse_database,
                        secure=s.clickhouse_secure,
                        connect_timeout=CONNECT_TIMEOUT_SECONDS,
                        send_receive_timeout=READ_TIMEOUT_SECONDS,
                        connector_limit=self._connections,
                        connector_limit_per_host=self._connections,
                        # A session runs one query at a time; ours are independent.
                        autogenerate_session_id=False,
                        # An outage is handled by whoever asked, who knows how long to wait.
                        query_retries=0,
                        compress=False,
                    )
                    # Else it refuses by itself what was read-only when it was opened, also after
                    # the user may write again. The server judges each call.
                    self._client.server_settings = {}
                except (ClickHouseError, OSError, TimeoutError) as error:
                    raise WarehouseAwayError(_first_line(error)) from error
            return self._client


async def _pieces(block: bytes | bytearray) -> AsyncIterator[bytes]:
    """The block as the socket takes it. Whole, each layer copies it: 407 MB, not 250."""
    with memoryview(block) as view:
        for start in range(0, len(view), PIECE_BYTES):
            yield bytes(view[start : start + PIECE_BYTES])


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:500]
