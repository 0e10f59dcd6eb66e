"""One child process: started so that it can't outlive us, logged to a file, stopped in bounds."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from embedded.part import Part

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
SWEEP_SECONDS = 0.5
POLL_SECONDS = 0.01
LOG_TAIL_BYTES = 4096
SHOWN_CHARACTERS = 300

# Loaded here because the child may not import or allocate between fork and exec.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ChildError(RuntimeError):
    """A child could not be started or did not become ready; one line."""


class Child:
    """A process of `part`, its output appended to `logs/<name>.log`. Can be started again.

    Start it from the main thread: the kernel's parent-death signal goes out when the *thread*
    that forked ends, not only when the process does.
    """

    def __init__(self, part: Part, logs: Path, environment: Mapping[str, str]) -> None:
        self.part = part
        self.log = logs / f"{part.name}.log"
        self._environment = {**environment, **part.environment}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the running (or last) process; also the number of its session and process group."""
        return self._process.pid if self._process else None

    @property
    def returncode(self) -> int | None:
        """None while it runs; the exit code, or minus the signal's number, afterwards."""
        return self._process.poll() if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process.

        Raises:
            ChildError: the command can't be executed.
        """
        user = self.part.user
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    self.part.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    # An own session: Ctrl-C in the terminal reaches only the supervisor, which
                    # then stops its children in order.
                    start_new_session=True,
                    user=user.uid if user else None,
                    group=user.gid if user else None,
                    extra_groups=[] if user else None,
                    preexec_fn=_dies_with_parent(self.part.stop_signal),  # noqa: PLW1509
                )
            except OSError as error:
                raise ChildError(
                    f"{self.part.name}: can't run {self.part.command[0]}: {error}"
                ) from error

    def wait_ready(self, seconds: float | None = None) -> None:
        """Block until the part answers.

        Raises:
            ChildError: it ended, or did not answer in time.
        """
        limit = self.part.ready_seconds if seconds is None else seconds
        if not wait_until(lambda: not self.running or self.part.ready(), limit):
            raise ChildError(f"{self.part.name}: not ready after {limit:g} s (log: {self.log})")
        if not self.running:
            raise ChildError(f"{self.part.name}: {self.last_words()} (log: {self.log})")

    def last_words(self) -> str:
        """How it ended, for a person: the signal, or exit code and last line of the log."""
        code = self.returncode
        if code is None:
            return "is running"
        if code < 0:  # it had no time to say why
            return f"was ended by {_signal_name(-code)}"
        line = self._last_log_line()
        return f"ended with exit code {code}" + (f": {line}" if line else "")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """Ask, wait `stop_seconds`, kill; then end whatever it left in its process group."""
        process = self._process
        if process is None:
            return
        self.signal(self.part.stop_signal)
        try:
            process.wait(self.part.stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # Dagster's runs are grandchildren: they get a moment to record that they were cut.
        # The number can't have been given away while a member of the group is alive.
        if _signal_group(process.pid, signal.SIGTERM):
            wait_until(lambda: not _signal_group(process.pid, 0), SWEEP_SECONDS)
            _signal_group(process.pid, signal.SIGKILL)

    def _last_log_line(self) -> str:
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - LOG_TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return next(
            (line.strip()[:SHOWN_CHARACTERS] for line in reversed(lines) if line.strip()), ""
        )


def start_together(children: Sequence[Child]) -> None:
    """Prepare and start all at once, then wait for each; stops all of them if one fails."""
    try:
        for child in children:
            if child.part.prepare:
                child.part.prepare()
            child.start()
        for child in children:
            child.wait_ready()
    except BaseException:
        for child in reversed(children):
            child.stop()
        raise


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until the condition holds; False when it did not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _dies_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """Runs between fork and exec, after the change of user, which would clear the setting."""
    if _libc is None:
        return None
    libc, parent = _libc, os.getpid()

    def arm() -> None:
        # Whoever started us may have ignored or blocked it, and children inherit that.
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return arm


def _signal_group(group: int, number: int) -> bool:
    """True when the group has a member."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
