"""One connection of the engine, in use by one request."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded.clickhouse.errors import from_engine
from embedded.clickhouse.statement import quote_string


@dataclass
class Totals:
    """What a query has done so far; rows and bytes as in `X-ClickHouse-Summary`.

    Of a result of many blocks the engine tells what it has read only block by block, and nothing
    with the end: `read_rows` and `read_bytes` may then lack the last blocks. The rest is exact.
    """

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0


class Session:
    """One connection during one request. Every method raises ServerError."""

    def __init__(self, connection: Any, spool: Path) -> None:
        """`spool` is an existing folder for the data of inserts."""
        self._connection = connection
        self._spool = spool
        self.totals = Totals()

    def run(self, statement: str, output_format: str, params: Mapping[str, str]) -> bytes:
        """Run any statement to its end; the whole result in `output_format`."""
        try:
            result = self._connection.query(statement, output_format, params=dict(params))
        except RuntimeError as error:
            raise from_engine(error) from None
        self._count(result)
        return bytes(result.bytes())

    def stream(
        self, statement: str, output_format: str, params: Mapping[str, str]
    ) -> Generator[bytes, None, None]:
        """Run a SELECT and yield its result block by block.

        Raises ServerError 36 before the first block for a statement that can't be streamed. Closing
        the generator cancels the query.
        """
        # Not chdb's own StreamingResult, which takes the block of WITH TOTALS for the end.
        try:
            handle = self._connection.send_query(statement, output_format, params=dict(params))
        except RuntimeError as error:
            raise from_engine(error) from None
        finished = False
        try:
            while True:
                try:
                    result = self._connection.streaming_fetch_result(handle)
                except RuntimeError as error:
                    finished = True
                    raise from_engine(error) from None
                self._count(result)
                block = bytes(result.bytes())
                if not block:
                    finished = True
                    return
                yield block
        finally:
            if not finished:
                self._connection.streaming_cancel_query(handle)

    def insert(
        self, head: tuple[str, str, str], data: Iterator[bytes], params: Mapping[str, str]
    ) -> None:
        """Insert `data`; nothing is begun before all of it has come.

        `head` is `INSERT INTO …`, the statement's SETTINGS clause or "", and the data's format.

        It goes through a file. chDB's `send_insert` is twice as fast, and says yes when the write
        fails: a violated constraint, a full disk or too many parts would lose rows silently.
        """
        with tempfile.NamedTemporaryFile(dir=self._spool, prefix="insert-") as file:
            for piece in data:
                file.write(piece)
            file.flush()
            into, settings, input_format = head
            source = f"FROM INFILE {quote_string(file.name)}"
            self.run(f"{into} {source} {settings} FORMAT {input_format}", "Null", params)

    def count_statements(self, statement: str) -> int:
        """How many statements the text holds; 0 when it can't be parsed."""
        return int(self._connection.classify_query(statement)["statement_count"])

    def _count(self, result: Any) -> None:
        totals = self.totals
        totals.read_rows += result.storage_rows_read()
        totals.read_bytes += result.storage_bytes_read()
        totals.written_rows += result.rows_written()
        totals.written_bytes += result.bytes_written()
        totals.result_rows += result.rows_read()
        totals.result_bytes += len(result)
