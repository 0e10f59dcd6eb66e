"""Where a request's statement ends and its data begins, while both are still arriving."""

from __future__ import annotations

from collections.abc import Iterator

from embedded.clickhouse.errors import SYNTAX_ERROR, refuse
from embedded.clickhouse.statement import IncompleteError, InsertHead, split_insert

# A statement is read whole, an insert's data is not. The real server takes 256 KiB of statement;
# rows of VALUES with parameters and long IN lists are let through up to this.
STATEMENT_BYTES = 16 << 20
# Where the head of an INSERT must have ended; the real server's max_query_size.
HEAD_BYTES = 256 << 10


def read_statement(text: bytes, body: Iterator[bytes]) -> bytes | InsertHead:
    """The statement, from the URL, the body, or begun in the one and continued in the other.

    For an INSERT that brings data, `body` is left at the data's next piece. Raises ServerError for
    a statement that is too long.
    """
    first = next(body, b"")
    # Data begins on a line of its own, so that `FORMAT CSV` does not run into it.
    text = text + b"\n" + first if text and first else text + first
    ended = not first
    while True:
        searchable = len(text) < HEAD_BYTES
        try:
            head = split_insert(text, complete=ended or not searchable)
        except IncompleteError:
            piece = next(body, None)
            ended = piece is None
            text += piece or b""
            continue
        return head if head is not None else collect(text, body)


def collect(text: bytes, body: Iterator[bytes]) -> bytes:
    """`text` and the rest of the body. Raises ServerError past STATEMENT_BYTES."""
    pieces = [text]
    size = len(text)
    for piece in body:
        pieces.append(piece)
        size += len(piece)
        if size > STATEMENT_BYTES:
            raise refuse(
                SYNTAX_ERROR,
                "SYNTAX_ERROR",
                f"Max query size exceeded: a statement may have {STATEMENT_BYTES} bytes.",
            )
    return b"".join(pieces)


def chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """`first`, if it is not empty, then the rest."""
    if first:
        yield first
    yield from rest
