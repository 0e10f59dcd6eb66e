"""The load client as Python sees it: start, wait until ready, mark, report."""

from __future__ import annotations

import json
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.streaming import native
from benchmarks.streaming.process import LOAD_CORES, SetupError, pinned
from benchmarks.streaming.servers import Server

LIFETIME_SECONDS = 300
READY_SECONDS = 120.0
REPORT_SECONDS = 30.0
SETTLE_SECONDS = 0.5
# After the last event: what is late is waited for, and its cost belongs to the measurement.
LATE_SECONDS = 10.0


@dataclass(frozen=True)
class Report:
    """Counters since the mark (`ready…`, `closed`, `errors` and `…_n` since the start).

    `lowest_n` and `highest_n` are the last sequences of the client that is furthest behind and of
    the one that is ahead.
    """

    ready: int
    ready_seconds: float
    deliveries: int
    gaps: int
    errors: int
    closed: int
    bytes: int
    lowest_n: int
    highest_n: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    client_cpu_us: int


class LoadClient:
    """One process with `clients` streams spread over `companies`. A context manager."""

    def __init__(
        self,
        folder: Path,
        port: int,
        path: str,
        clients: int,
        *,
        companies: int = 1,
        ready: str = "",
        in_flight: int = 64,
        ids: Path | None = None,
        http: str = "1.1",
        never_read: bool = False,
    ) -> None:
        command = [
            str(native.binary("load_client", folder)),
            *("--port", str(port), "--path", path, "--clients", str(clients)),
            *("--companies", str(companies), "--in-flight", str(in_flight)),
            *("--seconds", str(LIFETIME_SECONDS), "--http", http),
            *(("--ready", ready) if ready else ()),
            *(("--ids", str(ids)) if ids else ()),
            *(("--never-read",) if never_read else ()),
        ]
        self._process = subprocess.Popen(
            pinned(LOAD_CORES, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()

    def wait_ready(self) -> Report:
        """Block until every stream is ready, has failed or was closed.

        Raises:
            SetupError: they were not in time.
        """
        return self._read(READY_SECONDS)

    def mark(self) -> None:
        """Zero the counters."""
        self._command("mark")

    def report(self) -> Report:
        """The counters since the mark."""
        self._command("report")
        return self._read(REPORT_SECONDS)

    def _command(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        self._process.stdin.flush()

    def _read(self, seconds: float) -> Report:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise SetupError(f"the load client said nothing for {seconds:g} s")
        return Report(**json.loads(self._process.stdout.readline()))


def open_clients(
    server: Server, clients: int, companies: int = 1, never_read: bool = False
) -> LoadClient:
    """Clients that fit the server; not ready yet."""
    return LoadClient(
        server.work,
        server.port,
        server.path,
        clients,
        companies=companies,
        http=server.http,
        ready=server.ready,
        never_read=never_read,
    )


def wait_for(load: LoadClient, deliveries: int) -> Report:
    """The report once so many have arrived, or when they are too late."""
    deadline = time.monotonic() + LATE_SECONDS
    while True:
        time.sleep(SETTLE_SECONDS)
        report = load.report()
        if report.deliveries >= deliveries or time.monotonic() > deadline:
            return report
