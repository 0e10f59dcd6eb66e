"""Starts the real process for a test and stops exactly that one."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import clickhouse_connect
import httpx
import psutil
from clickhouse_connect.driver.client import Client

START_SECONDS = 30


class ClickHouseProcess:
    """One running `python -m embedded.clickhouse`."""

    def __init__(self, process: subprocess.Popen[str], url: str, data: Path) -> None:
        self.process = process
        self.data = data
        self.url = url
        self.port = int(url.rsplit(":", 1)[1])

    def client(self, database: str = "default", **options: Any) -> Client:
        """A clickhouse-connect client, as our own code makes it."""
        return clickhouse_connect.get_client(
            host="127.0.0.1", port=self.port, username="teei", database=database, **options
        )

    def http(self) -> httpx.Client:
        """A plain HTTP client."""
        return httpx.Client(base_url=self.url, timeout=60)

    def memory_mb(self) -> float:
        """Resident memory now."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 1e6


def command(data: Path, *options: str) -> list[str]:
    """The command line of a server on `data`."""
    return [sys.executable, "-m", "embedded.clickhouse", "--data", str(data), *options]


def read_line(stream: IO[str], seconds: float) -> str:
    """The next line of a child's output; AssertionError when none comes."""
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    try:
        return lines.get(timeout=seconds)
    except queue.Empty:
        raise AssertionError(f"no line within {seconds} s") from None


@contextmanager
def running(data: Path, options: Sequence[str] = ("--port", "0")) -> Iterator[ClickHouseProcess]:
    """A server that is ready; stopped by SIGTERM at the end unless the test did it itself."""
    process = subprocess.Popen(
        command(data, *options),
        stdout=subprocess.PIPE,
        text=True,
        # A host's time zone must make no difference.
        env={**os.environ, "TZ": "America/New_York"},
    )
    assert process.stdout is not None
    try:
        line = read_line(process.stdout, START_SECONDS)
        assert line.startswith("ready http://"), line
        yield ClickHouseProcess(process, line.split()[1], data)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Poll `condition()` until it is true; AssertionError when it stays false."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)
