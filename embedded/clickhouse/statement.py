"""Just enough of ClickHouse's grammar to see where an insert's data begins and what a query prints.

The engine parses every statement itself. This module only answers what has to be known before:
which bytes of a body are the statement, and which output format it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

_TOKEN = re.compile(
    rb"""(?P<space>\s+|--[^\n]*|\#[!\ ][^\n]*|/\*.*?\*/)
       | (?P<quoted>'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*`)
       | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
       | (?P<open>[(\[{]) | (?P<close>[)\]}])
       | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_TRAILING_FORMAT = re.compile(
    rb"\bFORMAT\s+([A-Za-z0-9_]+)\s*(?:\bSETTINGS\b[^;]*)?;?\s*\Z", re.IGNORECASE
)
_ANY_FORMAT = re.compile(rb"\bFORMAT\s+[A-Za-z0-9_]", re.IGNORECASE)
_OPENERS = frozenset({b"'", b'"', b"`"})
_INPUT = re.compile(rb"\binput\s*\(", re.IGNORECASE)
_OUTFILE = re.compile(rb"\b(?:INTO\s+OUTFILE|FROM\s+INFILE)\b", re.IGNORECASE)

# Formats without a header or footer of their own: the engine encodes each block by itself, and the
# blocks one after another are the whole result.
STREAMED_FORMATS = frozenset(
    {
        "native",
        *("tabseparated", "tsv", "tabseparatedraw", "tsvraw"),
        "csv",
        "rowbinary",
        *("jsoneachrow", "jsonlines", "ndjson", "jsoncompacteachrow"),
    }
)

# Statements whose answer is a table even when it has no row.
_TABLE_STATEMENTS = frozenset(
    {
        *("SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK"),
        *("KILL", "BACKUP", "RESTORE"),
    }
)


class IncompleteError(Exception):
    """The text ends before it is known whether insert data follows."""


@dataclass(frozen=True)
class InsertHead:
    """An INSERT with data: `INSERT INTO …`, its SETTINGS clause, its format; `data` has come."""

    into: bytes
    settings: bytes
    input_format: str
    data: bytes


def _tokens(text: bytes) -> Iterator[tuple[str, bytes, int, int]]:
    """(kind, bytes, start, end) of everything but space and comments."""
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        if kind != "space":
            yield kind, match[0], match.start(), match.end()


def first_word(text: bytes) -> str:
    """The first keyword in capitals; `SELECT` for an opening parenthesis, "" for none."""
    for kind, token, _, _ in _tokens(text):
        if kind == "open":
            return "SELECT"
        return token.decode().upper() if kind == "word" else ""
    return ""


def split_insert(text: bytes, *, complete: bool) -> InsertHead | None:
    """The head of an INSERT that brings data, or None for any other statement.

    Raises IncompleteError when `complete` is false and more of the text is needed.
    """
    depth = 0
    previous = b""
    format_start = settings_start = None
    for index, (kind, token, start, end) in enumerate(_tokens(text)):
        # A token at the very end may go on in the next piece, and so may an open quote or comment.
        if not complete and (
            end == len(text) or token in _OPENERS or text[start : end + 1] == b"/*"
        ):
            raise IncompleteError
        if index == 0 and token.upper() != b"INSERT":
            return None
        if format_start is not None:
            data = text[_data_start(text, end) :]
            into, settings = _parts(text[:format_start], settings_start)
            return InsertHead(into, settings, token.decode(), data) if kind == "word" else None
        depth += (kind == "open") - (kind == "close")
        qualified, previous = previous == b".", token
        # `INSERT INTO name`: the table may be called anything, and so may a column in parentheses.
        if kind != "word" or depth or index < 3 or qualified:
            continue
        keyword = token.upper()
        if keyword == b"FORMAT":
            format_start = start
        elif keyword == b"VALUES":
            return InsertHead(*_parts(text[:start], settings_start), "Values", text[end:])
        elif keyword == b"SETTINGS":
            settings_start = start
        elif keyword in {b"SELECT", b"WITH", b"FROM"}:
            return None
    if not complete:
        raise IncompleteError
    return None


def _parts(head: bytes, settings_start: int | None) -> tuple[bytes, bytes]:
    """What stands before the SETTINGS clause, and the clause."""
    end = len(head) if settings_start is None else settings_start
    return head[:end], head[end:]


def _data_start(text: bytes, position: int) -> int:
    """Where data begins after the format's name: blanks and one line end don't belong to it."""
    while text[position : position + 1] in {b" ", b"\t", b"\f"}:
        position += 1
    if text[position : position + 1] == b"\r":
        position += 1
    if text[position : position + 1] == b"\n":
        position += 1
    return position


def output_format(text: bytes, default: str) -> tuple[str, bool]:
    """(the format of the result, whether it may be streamed block by block).

    The engine itself decides by the statement's FORMAT clause, else takes `default`.
    """
    default_streams = default.lower() in STREAMED_FORMATS
    found = _TRAILING_FORMAT.search(text)
    if found:
        name = found[1].decode()
        # It may still stand at the end of a string, and then the default counts.
        return name, name.lower() in STREAMED_FORMATS and default_streams
    # A FORMAT that isn't plainly the last clause (a comment follows, or it stands in a string):
    # the engine will know; the result is taken as a whole, which is right for every format.
    return default, default_streams and not _ANY_FORMAT.search(text)


def returns_table(text: bytes) -> bool:
    """Whether the statement answers with a result set even if that is empty."""
    return first_word(text) in _TABLE_STATEMENTS


def touches_files(text: bytes) -> bool:
    """Whether it says INTO OUTFILE or FROM INFILE, which would use files of this process."""
    if not _OUTFILE.search(text):
        return False
    words = [token.upper() for kind, token, _, _ in _tokens(text) if kind == "word"]
    pairs = set(pairwise(words))
    return (b"INTO", b"OUTFILE") in pairs or (b"FROM", b"INFILE") in pairs


def creates_temporary(text: bytes) -> bool:
    """Whether it is CREATE [OR REPLACE] TEMPORARY …"""
    words = [token.upper() for _, token, _, _ in islice(_tokens(text), 4)]
    return words[:2] == [b"CREATE", b"TEMPORARY"] or (
        words == [b"CREATE", b"OR", b"REPLACE", b"TEMPORARY"]
    )


def reads_input(text: bytes) -> bool:
    """Whether an INSERT … SELECT takes its data from `input()`."""
    if first_word(text) != "INSERT" or not _INPUT.search(text):
        return False
    tokens = [token.lower() for _, token, _, _ in _tokens(text)]
    return (b"input", b"(") in set(pairwise(tokens))


def quote_string(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quote_identifier(name: str) -> str:
    """A quoted name of a database or table."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
