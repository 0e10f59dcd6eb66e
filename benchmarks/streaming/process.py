"""Processes on a core of their own, and what the kernel has counted for them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from embedded.child import Child
from embedded.part import Part

READY_SECONDS = 20.0
ANSWER_SECONDS = 1.0

_CORES = sorted(os.sched_getaffinity(0))
# The measured server has the last core to itself; clients, publisher and brokers share the others.
SERVER_CORES = _CORES[-1:]
LOAD_CORES = _CORES[:-1] or _CORES


class SetupError(RuntimeError):
    """Something that a benchmark needs is missing or does not answer; one line."""


def pinned(cores: Sequence[int], command: Sequence[str]) -> tuple[str, ...]:
    """`command` on `cores`; taskset becomes the program, so the process id is the program's."""
    return ("taskset", "-c", ",".join(map(str, cores)), *command)


def start(
    name: str,
    command: Sequence[str],
    port: int,
    logs: Path,
    *,
    cores: Sequence[int],
    environment: Mapping[str, str] | None = None,
) -> Child:
    """Start a program and wait until it listens on `port`; it ends with this process.

    Raises:
        ChildError: it did not start, ended, or did not listen in time.
    """
    part = Part(
        name,
        pinned(cores, command),
        ready=lambda: listens(port),
        environment=environment or {},
        ready_seconds=READY_SECONDS,
    )
    child = Child(part, logs, os.environ)
    child.start()
    try:
        child.wait_ready()
    except BaseException:
        child.stop()
        raise
    return child


def listens(port: int) -> bool:
    """Whether somebody accepts connections on the loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def with_children(child: Child) -> list[int]:
    """A process and its direct children: nginx answers in a child of the one that we start."""
    assert child.pid is not None
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
    return [child.pid, *map(int, children)]


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of the processes so far, with all their threads, to the nanosecond.

    The clock's number is what `clock_getcpuclockid(3)` computes; `/proc/PID/stat` counts in steps
    of 10 ms, too coarse for a server that works for 150 of them in ten seconds.
    """
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def memory_kb(pids: Sequence[int], member: str = "VmRSS") -> int:
    """Resident memory of the processes together; `VmHWM` is the highest so far."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{member}:"))
