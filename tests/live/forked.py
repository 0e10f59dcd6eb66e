"""A program as a process of its own, forked from one that has its modules loaded already.

Most of what a start costs is imports. Everything else is as when it is started by
its command, which the tests of `make up`, of the image and of the supervisor do.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from typing import TextIO

from tests.live.system import REPOSITORY

PRELOADED = "stream_api"

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([f"{PRELOADED}.{name}" for name in ("app", "sidecar", "transport")])


class Forked:
    """What `subprocess.Popen([sys.executable, "-m", PRELOADED], ...)` is, with `stderr` as text."""

    def __init__(self, environment: dict[str, str]) -> None:
        reader, writer = _context.Pipe(duplex=False)
        # As a daemon it ends with the tests whatever happens to them.
        self._process = _context.Process(target=_run, args=(writer, environment), daemon=True)
        self._process.start()
        writer.close()
        self.stderr: TextIO = os.fdopen(os.dup(reader.fileno()), encoding="utf-8")
        reader.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    def send_signal(self, how: signal.Signals) -> None:
        """Nothing when it has ended."""
        if self.poll() is None:
            os.kill(self.pid, how)

    def wait(self, timeout: float) -> int:
        """The exit status, once it has ended."""
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(PRELOADED, timeout)
        return status


def _run(stderr: Connection, environment: dict[str, str]) -> None:
    os.dup2(stderr.fileno(), sys.__stderr__.fileno())  # type: ignore[union-attr]
    stderr.close()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(REPOSITORY)
    sys.argv = [PRELOADED]
    runpy.run_module(PRELOADED, run_name="__main__", alter_sys=True)
