"""Lines of a file of events, plain or gzip, with the place in the file that each batch reaches."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

# Enough that ClickHouse takes them at full speed; two batches are in memory at a time.
BATCH_LINES = 20_000
BATCH_BYTES = 8 * 1024 * 1024
# A longer line is no event; its beginning is kept, the rest is skipped without holding it.
MAX_LINE_BYTES = 1024 * 1024
CHUNK_BYTES = 1024 * 1024
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Place:
    """How far a file was read: lines, bytes of its text, and the SHA-256 of these bytes."""

    line: int = 0
    offset: int = 0
    sha256: str = ""


class LineBatch(NamedTuple):
    """Numbered lines, the place behind them, and how much of the file on disk that is in bytes."""

    lines: list[tuple[int, bytes]]
    place: Place
    disk_bytes: int


@contextmanager
def open_lines(path: Path, begin: Place) -> Iterator[tuple[Place, Iterator[LineBatch]]]:
    """Batches of the file from a place on; from its beginning where it is another file by now.

    Yields the place where reading really begins, and the batches.

    Raises:
        OSError, EOFError, zlib.error: the file can't be read, or is cut.
    """
    with path.open("rb") as disk:
        compressed = disk.read(2) == GZIP_MAGIC
        disk.seek(0)
        text: BinaryIO = disk
        if compressed:
            unpacked = cast(io.RawIOBase, gzip.GzipFile(fileobj=disk))
            text = io.BufferedReader(unpacked, CHUNK_BYTES)
        digest = hashlib.sha256()
        left = begin.offset
        while left and (chunk := text.read(min(left, CHUNK_BYTES))):
            digest.update(chunk)
            left -= len(chunk)
        if begin.offset and (left or digest.hexdigest() != begin.sha256):
            text.seek(0)
            digest, begin = hashlib.sha256(), Place()
        yield begin, _batches(text, disk, begin, digest)


def _batches(
    text: BinaryIO, disk: BinaryIO, begin: Place, digest: hashlib._Hash
) -> Iterator[LineBatch]:
    number, offset = begin.line, begin.offset
    lines: list[tuple[int, bytes]] = []
    size = 0
    while line := text.readline(MAX_LINE_BYTES):
        number += 1
        digest.update(line)
        offset += len(line)
        size += len(line)
        lines.append((number, line))
        while len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = text.readline(MAX_LINE_BYTES)
            digest.update(line)
            offset += len(line)
        if len(lines) >= BATCH_LINES or size >= BATCH_BYTES:
            yield LineBatch(lines, Place(number, offset, digest.hexdigest()), disk.tell())
            lines, size = [], 0
    if lines:
        yield LineBatch(lines, Place(number, offset, digest.hexdigest()), disk.tell())
