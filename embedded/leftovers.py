"""What an earlier supervisor left running: recorded while it ran, ended by the next one.

The kernel ends our children when the supervisor is killed, but not their children. A number alone
proves nothing, since it may have been given to another process by now: a process is ours only when
its start time and command are the recorded ones, or when it is in the recorded session and carries
the recorded token in its environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from embedded.child import Child

TOKEN_VARIABLE = "ANALYTICS_SUPERVISOR"  # noqa: S105  # a mark, not a secret
# The start time is derived from the clock at boot, which may have been corrected since.
START_TIME_TOLERANCE_SECONDS = 2.0
END_SECONDS = 5.0


@dataclass(frozen=True)
class Record:
    """One process that was started; `pid` is also the number of its session."""

    name: str
    pid: int
    started: float
    command: list[str]
    stop_signal: int
    token: str


class ProcessRecords:
    """The file of records of one data folder. `token` marks the processes of this supervisor."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: dict[str, Record] = {}
        self.token = uuid.uuid4().hex

    def add(self, child: Child) -> None:
        """Remember a child that was just started."""
        with contextlib.suppress(psutil.NoSuchProcess):  # it died at once
            process = psutil.Process(child.pid)
            self._records[child.part.name] = Record(
                name=child.part.name,
                pid=process.pid,
                started=process.create_time(),
                command=process.cmdline(),
                stop_signal=int(child.part.stop_signal),
                token=self.token,
            )
            self._write()

    def clear(self) -> None:
        """All have ended."""
        self._records.clear()
        self._path.unlink(missing_ok=True)

    def end_leftovers(self) -> list[str]:
        """End what an earlier supervisor recorded and still runs. Returns the names."""
        ended = []
        try:
            records = [Record(**one) for one in json.loads(self._path.read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError):
            return []
        found: list[psutil.Process] = []
        for record in records:
            processes = _processes_of(record)
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    # psutil signals no process that took over the number.
                    process.send_signal(record.stop_signal)
            found += processes
            if processes:
                ended.append(record.name)
        _kill_late(found)
        self._path.unlink(missing_ok=True)
        return ended

    def _write(self) -> None:
        partial = self._path.with_suffix(".partial")
        text = json.dumps([asdict(record) for record in self._records.values()], indent=1)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.rename(self._path)


def _processes_of(record: Record) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == record.pid:
                same_start = (
                    abs(process.create_time() - record.started) < START_TIME_TOLERANCE_SECONDS
                )
                if same_start and process.cmdline() == record.command:
                    found.append(process)
            elif (
                os.getsid(process.pid) == record.pid
                and process.environ().get(TOKEN_VARIABLE) == record.token
            ):
                found.append(process)
    return found


def _kill_late(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=END_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=END_SECONDS)
