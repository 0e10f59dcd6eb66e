"""The servers that are compared: ours, nginx with nchan, the least in C, and the naive one."""

from __future__ import annotations

import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.streaming import native, nginx, process
from benchmarks.streaming.process import LOAD_CORES, SERVER_CORES
from benchmarks.streaming.publisher import DatagramSink, HttpSink, NatsSink, Sink
from embedded.child import Child, wait_until
from embedded.nats import NatsServer
from embedded.ports import free_port


class Server(ABC):
    """One server in a temporary folder. A context manager: starts it, stops it, cleans up."""

    path = "/stream/updates?companyId=c%d"
    http = "1.1"
    # A line that says that the stream is live; empty: the head of the response says so.
    ready = ""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.folder = Path(tempfile.mkdtemp(dir=work))
        self.folder.chmod(0o755)  # nginx's worker is another user
        self.port = free_port()
        self._running: list[Child] = []

    @abstractmethod
    def begin(self) -> None:
        """Start the processes; the server comes last."""

    @abstractmethod
    def sink(self) -> Sink:
        """Where to publish."""

    def pids(self) -> list[int]:
        """The server's processes, without a broker's."""
        return process.with_children(self._running[-1])

    def broker_pids(self) -> list[int]:
        """Processes that the server needs and that are counted apart."""
        return [pid for child in self._running[:-1] for pid in process.with_children(child)]

    def __enter__(self) -> Self:
        try:
            self.begin()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in reversed(self._running):
            child.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _serve(self, command: Sequence[str], **environment: str) -> None:
        self._running.append(
            process.start(
                "server",
                command,
                self.port,
                self.folder,
                cores=SERVER_CORES,
                environment=environment,
            )
        )


class Sidecar(Server):
    """Ours, whole: `python -m stream_api` on JetStream and Postgres, without the warehouse."""

    ready = "event: connected"

    def __init__(self, work: Path, *, pace_ms: int, database_url: str, http: str = "1.1") -> None:
        super().__init__(work)
        self.http = http
        self._pace_ms = pace_ms
        self._database_url = database_url
        self._nats_port = free_port()

    def begin(self) -> None:
        nats = NatsServer(self.folder / "nats", self._nats_port)
        self._running.append(
            process.start(
                "nats", nats.part().command, self._nats_port, self.folder, cores=LOAD_CORES
            )
        )
        self._serve(
            (sys.executable, "-m", "stream_api"),
            PORT_ANALYTICS=str(self.port),
            NATS_URL=nats.url,
            DATABASE_URL=self._database_url,
            CLICKHOUSE_ENABLED="false",
            STREAM_PACE_MS=str(self._pace_ms),
        )
        if not wait_until(self._is_ready, process.READY_SECONDS):
            raise process.SetupError("the sidecar listens and does not get ready")

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready") as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return False

    def sink(self) -> Sink:
        return NatsSink(self._nats_port)


class EpollReference(Server):
    """`reference_epoll.c`."""

    def begin(self) -> None:
        program = native.binary("reference_epoll", self.work)
        self._serve((str(program), str(self.port), str(self.folder / "control")))

    def sink(self) -> Sink:
        return DatagramSink(str(self.folder / "control"))


class Nchan(Server):
    """nginx with nchan, one worker."""

    def begin(self) -> None:
        self._serve(nginx.command(self.folder, self.port))

    def sink(self) -> Sink:
        return HttpSink(self.port)


class Naive(Server):
    """FastAPI and sse-starlette as their pages show it: a queue a client."""

    def begin(self) -> None:
        app = "benchmarks.streaming.naive:app"
        options = ("--port", str(self.port), "--no-access-log", "--backlog", "4096")
        self._serve((sys.executable, "-m", "uvicorn", app, *options))

    def sink(self) -> Sink:
        return HttpSink(self.port)


Maker = Callable[[], Server]


def makers(work: Path, database_url: str) -> dict[str, Maker]:
    """What can be run here, by name; nchan only where nginx and its module are installed."""

    def ours(pace_ms: int, http: str = "1.1") -> Maker:
        return lambda: Sidecar(work, pace_ms=pace_ms, database_url=database_url, http=http)

    known: dict[str, Maker] = {
        "paced": ours(16),
        "unpaced": ours(0),
        # HTTP/1.0 can't be chunked, so sse-starlette carries it: the portable path.
        "portable": ours(0, "1.0"),
        "c": lambda: EpollReference(work),
        "naive": lambda: Naive(work),
    }
    if nginx.installed():
        known["nchan"] = lambda: Nchan(work)
    return known
