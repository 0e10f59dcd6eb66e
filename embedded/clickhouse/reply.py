"""The answer to one request: held back while it is short, streamed when it is long."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from tempfile import SpooledTemporaryFile

from embedded.clickhouse.channel import Message
from embedded.clickhouse.encodings import compressor
from embedded.clickhouse.errors import ServerError
from embedded.clickhouse.session import Totals

# Like the real server, nothing is sent before this much has come together: most results and errors
# are complete by then, so that an error still gets its status and a result its length and summary.
HOLD_BYTES = 1 << 20
# A result that is held back to its end (wait_end_of_query) goes from memory to a file past this.
SPOOL_BYTES = 8 << 20


class Reply:
    """Collects a result. Used by one worker thread; `last_messages` are left to the event loop.

    `send` hands an ASGI message to the client and blocks while the client does not read.
    """

    def __init__(
        self, send: Callable[[Message], None], query_id: str, version: str, encoding: str | None
    ) -> None:
        self._send = send
        self._version = version
        self._encoding = encoding
        self._compressor = compressor(encoding) if encoding else None
        self._started_ns = time.perf_counter_ns()
        self._query_id = query_id
        self._tag = secrets.token_hex(8)
        self._held = SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  # see close()
        self._streaming = False
        self._empty = True
        self.format: str | None = None
        self.hold = False
        self.timezone = "UTC"
        self.totals = Totals()
        self.last_messages: list[Message] | None = None

    def write(self, data: bytes) -> None:
        """Add a piece of the result."""
        self._empty = False
        packed = self._compressor.compress(data) if self._compressor else data
        if self._streaming:
            self._send_body(packed)
            return
        self._held.write(packed)
        if not self.hold and self._held.tell() >= HOLD_BYTES:
            self._send(self._start(200, None))
            self._streaming = True
            self._send_held()

    def finish(self) -> None:
        """End a result that is whole."""
        # A packed nothing is not nothing, and clients take an empty body for an empty result.
        tail = self._compressor.flush() if self._compressor and not self._empty else b""
        if self._streaming:
            self._send_body(tail)
            self.last_messages = [_body(b"", more=False)]
            return
        self._held.write(tail)
        size = self._held.tell()
        start = self._start(200, size)
        if size <= HOLD_BYTES:
            self._held.seek(0)
            self.last_messages = [start, _body(self._held.read(), more=False)]
            return
        self._send(start)
        self._send_held()
        self.last_messages = [_body(b"", more=False)]

    def fail(self, error: ServerError) -> None:
        """End with an error: by its status, or inside the result when that has begun.

        Inside a result the real server writes a block that no format can hold by chance, named in
        the X-ClickHouse-Exception-Tag header, and breaks the connection off.
        """
        text = error.body(self._version)
        if not self._streaming:
            self.format = None
            self._encoding = None
            start = self._start(error.status, len(text), code=error.code)
            self.last_messages = [start, _body(text, more=False)]
            return
        tag = self._tag.encode()
        block = b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n"
        block %= (tag, text, len(text), tag)
        if self._compressor:
            block = self._compressor.compress(block) + self._compressor.flush()
        self._send_body(block)
        self.last_messages = None  # an answer without an end: the connection is closed

    def close(self) -> None:
        """Give up the held bytes."""
        self._held.close()

    def _send_body(self, data: bytes) -> None:
        if data:
            self._send(_body(data, more=True))

    def _send_held(self) -> None:
        self._held.seek(0)
        while piece := self._held.read(HOLD_BYTES):
            self._send_body(piece)
        self._held.seek(0)
        self._held.truncate()

    def _start(self, status: int, length: int | None, *, code: int | None = None) -> Message:
        totals = self.totals
        summary = {
            "read_rows": totals.read_rows,
            "read_bytes": totals.read_bytes,
            "written_rows": totals.written_rows,
            "written_bytes": totals.written_bytes,
            "result_rows": totals.result_rows,
            "result_bytes": totals.result_bytes,
            "elapsed_ns": time.perf_counter_ns() - self._started_ns,
        }
        headers = {
            "content-type": _content_type(self.format),
            "x-clickhouse-server-display-name": "embedded",
            "x-clickhouse-query-id": self._query_id,
            "x-clickhouse-timezone": self.timezone,
            "x-clickhouse-summary": json.dumps({key: str(n) for key, n in summary.items()}),
        }
        if self.format:
            headers["x-clickhouse-format"] = self.format
        if self._encoding and length != 0:
            headers["content-encoding"] = self._encoding
        if length is not None:
            headers["content-length"] = str(length)
        else:
            headers["x-clickhouse-exception-tag"] = self._tag
        if code is not None:
            headers["x-clickhouse-exception-code"] = str(code)
        return {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }


def _body(data: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def _content_type(output_format: str | None) -> str:
    name = (output_format or "").lower()
    if name.startswith(("tabseparated", "tsv")):
        return "text/tab-separated-values; charset=UTF-8"
    if name.startswith("csv"):
        return "text/csv; charset=UTF-8; header=absent"
    if name.startswith("json"):
        return "application/json; charset=UTF-8"
    if name in {"native", "rowbinary", "arrow", "arrowstream", "parquet", "orc"}:
        return "application/octet-stream"
    return "text/plain; charset=UTF-8"
