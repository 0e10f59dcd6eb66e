"""The process that owns the embedded ClickHouse's data and serves its HTTP protocol."""

from __future__ import annotations

import sys
from pathlib import Path

from embedded.part import Part
from embedded.probes import get

HOST = "127.0.0.1"


class ClickHouseServer:
    """Where the process runs and how; `memory_mb` bounds what its queries may use.

    `backups` is the folder of the disk `backups`. Inside of `data` by default, for servers that are
    thrown away; otherwise beside it, so that losing `data` does not lose them.
    """

    def __init__(
        self, data: Path, port: int, *, memory_mb: int = 2048, backups: Path | None = None
    ) -> None:
        self._backups = backups or data / "backups"
        self._data = data
        self._memory_mb = memory_mb
        self.port = port

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def part(self) -> Part:
        return Part(
            name="clickhouse",
            command=(
                sys.executable,
                *("-m", "embedded.clickhouse", "--data", str(self._data)),
                *("--backups", str(self._backups)),
                *("--host", HOST, "--port", str(self.port)),
                *("--memory-mb", str(self._memory_mb)),
            ),
            prepare=lambda: self._data.mkdir(parents=True, exist_ok=True, mode=0o700),
            ready=self._ready,
        )

    def _ready(self) -> bool:
        return get(HOST, self.port, "/?query=SELECT%201") == (200, b"1\n")
