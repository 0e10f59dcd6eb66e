"""ClickHouse exceptions as the HTTP interface reports them."""

from __future__ import annotations

import re
from http import HTTPStatus

_CODE = re.compile(r"Code: (\d+)\.")
_VERSION = re.compile(r" \(version [^)]*\)\s*$")

SYNTAX_ERROR = 62
UNKNOWN_SETTING = 115
BAD_ARGUMENTS = 36
NOT_IMPLEMENTED = 48
INTO_OUTFILE_NOT_ALLOWED = 187
TOO_MANY_SIMULTANEOUS_QUERIES = 202
QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING = 216
CANNOT_DECOMPRESS = 271
ZLIB_INFLATE_FAILED = 354
STD_EXCEPTION = 1001

# From ClickHouse's src/Server/HTTP/exceptionCodeToHTTPStatus.cpp; every other code is a 500.
# 202 is a 500 there too, but 503 is what clients know how to wait for.
_STATUS = {
    **dict.fromkeys(
        # CANNOT_PARSE_*, ILLEGAL_COLUMN, TYPE_MISMATCH, SYNTAX_ERROR, INCORRECT_DATA and the like
        {
            *(6, 8, 15, 25, 26, 27, 36, 38, 41, 44, 53, 62, 72, 117, 167, 168, 223, 224, 271, 321),
            *(354, 376, 427, 441, 675, 676),
        },
        HTTPStatus.BAD_REQUEST,
    ),
    **dict.fromkeys((497, 516, 192, 193), HTTPStatus.FORBIDDEN),
    # UNKNOWN_FUNCTION, _IDENTIFIER, _TYPE, _STORAGE, _TABLE, _FORMAT, _DATABASE, _SETTING, …
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336, 511), HTTPStatus.NOT_FOUND),
    48: HTTPStatus.NOT_IMPLEMENTED,
    159: HTTPStatus.REQUEST_TIMEOUT,
    202: HTTPStatus.SERVICE_UNAVAILABLE,
    209: HTTPStatus.SERVICE_UNAVAILABLE,
    439: HTTPStatus.SERVICE_UNAVAILABLE,
}


class ServerError(Exception):
    """One exception of the engine or of this server.

    `code` is ClickHouse's error number, `str()` is the text without the version, `status` the
    HTTP status that ClickHouse answers with for that code.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = int(_STATUS.get(code, HTTPStatus.INTERNAL_SERVER_ERROR))

    def body(self, version: str) -> bytes:
        """The response body of the error, one line or several, with the server's version."""
        return f"{self} (version {version} (official build))\n".encode()


def refuse(code: int, name: str, message: str) -> ServerError:
    """An error raised by this server itself, in the words' order that ClickHouse uses."""
    return ServerError(code, f"Code: {code}. DB::Exception: {message} ({name})")


def from_engine(error: Exception) -> ServerError:
    """The engine's error, which it hands out as text only."""
    text = _VERSION.sub("", str(error).strip())
    found = _CODE.search(text)
    if found is None:
        return refuse(STD_EXCEPTION, "STD_EXCEPTION", text or type(error).__name__)
    return ServerError(int(found[1]), text[found.start() :])
