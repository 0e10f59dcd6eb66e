"""Compressed bodies, both ways, in pieces of bounded size."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import lz4.frame  # type: ignore[import-untyped]

from embedded.clickhouse.errors import (
    CANNOT_DECOMPRESS,
    NOT_IMPLEMENTED,
    ZLIB_INFLATE_FAILED,
    refuse,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# A small body may unpack to gigabytes, so at most this much is unpacked at a time.
PIECE_BYTES = 1 << 20
ZLIB_LEVEL = 3  # ClickHouse's default of http_zlib_compression_level


class Compressor(Protocol):
    """What the encoders share: `compress` may hold bytes back until `flush`."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Lz4Compressor:
    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def compress(self, data: bytes, /) -> bytes:
        return self._begin() + bytes(self._frame.compress(data))

    def flush(self) -> bytes:
        return self._begin() + bytes(self._frame.flush())

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return bytes(self._frame.begin())


class _Inflater:
    """zlib with the interface that lz4's and zstd's decompressors have."""

    def __init__(self, window_bits: int) -> None:
        self._inflate = zlib.decompressobj(window_bits)
        self.needs_input = True

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
        # A full piece may have left output behind even when all input is taken.
        self.needs_input = not self._inflate.unconsumed_tail and len(piece) < max_length
        return piece

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data


_COMPRESSORS: dict[str, Callable[[], Compressor]] = {
    "lz4": _Lz4Compressor,
    "zstd": lambda: zstd.ZstdCompressor(level=1),
    "gzip": lambda: zlib.compressobj(ZLIB_LEVEL, zlib.DEFLATED, 31),
    "deflate": lambda: zlib.compressobj(ZLIB_LEVEL),
}
_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
    "gzip": lambda: _Inflater(31),
    "deflate": lambda: _Inflater(zlib.MAX_WBITS),
}


def choose_encoding(accept_encoding: str) -> str | None:
    """The first encoding of an Accept-Encoding header that this server has."""
    for item in accept_encoding.split(","):
        name, _, weight = item.partition(";")
        if name.strip().lower() in _COMPRESSORS and weight.replace(" ", "") not in {"q=0", "q=0.0"}:
            return name.strip().lower()
    return None


def compressor(encoding: str) -> Compressor:
    """A new compressor for an encoding that `choose_encoding` returned."""
    return _COMPRESSORS[encoding]()


class Decoder:
    """Unpacks a body that arrives in pieces; several frames in a row are one body."""

    def __init__(self, encoding: str) -> None:
        """Raises ServerError 48 for an encoding that this server has not."""
        if encoding not in _DECOMPRESSORS:
            known = ", ".join(_DECOMPRESSORS)
            raise refuse(
                NOT_IMPLEMENTED,
                "NOT_IMPLEMENTED",
                f"Content-Encoding '{encoding}' is not supported, only {known}.",
            )
        self._encoding = encoding
        self._frame: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The unpacked pieces of the next packed bytes. Raises ServerError for damaged data."""
        while data or (self._frame is not None and not self._frame.needs_input):
            if self._frame is None:
                self._frame = _DECOMPRESSORS[self._encoding]()
            try:
                piece = self._frame.decompress(data, PIECE_BYTES)
            except Exception as error:  # each library has its own kinds
                raise self._damaged(str(error)) from None
            data = b""
            if self._frame.eof:
                data = self._frame.unused_data or b""
                self._frame = None
            if piece:
                yield piece

    def end(self) -> None:
        """Raises ServerError when the body stopped inside a frame."""
        if self._frame is not None:
            raise self._damaged("the body ends too early")

    def _damaged(self, reason: str) -> Exception:
        code, name = (
            (ZLIB_INFLATE_FAILED, "ZLIB_INFLATE_FAILED")
            if self._encoding in {"gzip", "deflate"}
            else (CANNOT_DECOMPRESS, "CANNOT_DECOMPRESS")
        )
        return refuse(code, name, f"The {self._encoding} body can't be decompressed: {reason}.")
