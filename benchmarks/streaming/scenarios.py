"""What is measured: a table, and one function a kind."""

from __future__ import annotations

import time
import urllib.request
from dataclasses import asdict, dataclass

from benchmarks.streaming.load import SETTLE_SECONDS, LoadClient, Report, open_clients, wait_for
from benchmarks.streaming.process import cpu_seconds, memory_kb
from benchmarks.streaming.publisher import EVENT_BYTES, Publisher
from benchmarks.streaming.servers import Server
from benchmarks.streaming.storm import run_storm

Figures = dict[str, float]

WARM_UP_SECONDS = 1.0
FEW_CONNECTIONS = 100


@dataclass(frozen=True)
class Delivery:
    """A steady rate of events, of each company, to clients that are spread over the companies."""

    title: str
    servers: tuple[str, ...]
    clients: int
    companies: int
    events_per_second: float
    seconds: float = 6.0

    def run(self, server: Server) -> Figures:
        """CPU of the server a delivery and publish-to-receive latency."""
        with open_clients(server, self.clients, self.companies) as load:
            load.wait_ready()
            publisher = Publisher(server.sink(), self.companies)
            total_rate = self.events_per_second * self.companies
            publisher.run(total_rate, WARM_UP_SECONDS)
            time.sleep(SETTLE_SECONDS)
            load.mark()
            cpu, broker_cpu = cpu_seconds(server.pids()), cpu_seconds(server.broker_pids())
            started = time.monotonic()
            events = publisher.run(total_rate, self.seconds)
            seconds = time.monotonic() - started
            expected = events * self.clients // self.companies
            report = wait_for(load, expected)
            cpu = cpu_seconds(server.pids()) - cpu
            broker_cpu = cpu_seconds(server.broker_pids()) - broker_cpu
        return {
            "cpu_us": cpu * 1e6 / max(1, report.deliveries),
            "broker_cpu_us": broker_cpu * 1e6 / max(1, report.deliveries),
            "server_load": cpu / seconds,
            "client_load": report.client_cpu_us / 1e6 / seconds,
            "deliveries_per_second": report.deliveries / seconds,
            "missing": expected - report.deliveries,
            **_times(report),
        }


@dataclass(frozen=True)
class Memory:
    """Resident memory of the server with many open streams, against a few."""

    title: str
    servers: tuple[str, ...]
    connections: int
    companies: int = 100

    def run(self, server: Server) -> Figures:
        """Kilobytes a connection beyond the first hundred, which warm everything up."""
        with open_clients(server, FEW_CONNECTIONS, self.companies) as few:
            few.wait_ready()
            time.sleep(SETTLE_SECONDS)
            before = memory_kb(server.pids())
            with open_clients(server, self.connections, self.companies) as many:
                report = many.wait_ready()
                time.sleep(2 * SETTLE_SECONDS)
                after = memory_kb(server.pids())
        return {
            "kb_per_connection": (after - before) / self.connections,
            "open_seconds": report.ready_seconds,
            "missing": self.connections - report.ready,
            "errors": report.errors,
        }


@dataclass(frozen=True)
class Storm:
    """Clients that all come back at once, each behind another event, while events go on."""

    title: str
    servers: tuple[str, ...]
    clients: int

    def run(self, server: Server) -> Figures:
        """Seconds until the last one is live, and whether each had everything in order."""
        return run_storm(server, self.clients)


@dataclass(frozen=True)
class Slow:
    """Readers beside clients of the same company that never read.

    What the readers see is compared with what they see beside as many that do read: any stream
    costs its writes.
    """

    title: str
    servers: tuple[str, ...]
    readers: int
    never_readers: int
    events_per_second: float = 50.0
    # Large: a loopback socket takes 2.6 MB before our own buffer of 256 KiB begins to fill, and
    # both must overflow within the time of measurement.
    event_bytes: int = 80 * EVENT_BYTES
    seconds: float = 6.0

    def run(self, server: Server) -> Figures:
        """Readers' latency alone, beside others, and beside never-readers; these ones' memory."""
        with open_clients(server, self.readers) as load:
            load.wait_ready()
            publisher = Publisher(server.sink(), 1, self.event_bytes)
            publisher.run(self.events_per_second, WARM_UP_SECONDS)
            alone = self._measure(publisher, load)
            with open_clients(server, self.never_readers) as others:
                others.wait_ready()
                time.sleep(SETTLE_SECONDS)
                beside_readers = self._measure(publisher, load)
            before = memory_kb(server.pids())
            with open_clients(server, self.never_readers, never_read=True) as never:
                never.wait_ready()
                time.sleep(SETTLE_SECONDS)
                beside = self._measure(publisher, load)
                growth_kb = memory_kb(server.pids(), "VmHWM") - before
                cut = _closed_as_slow(server.port)
        return {
            "p99_alone_ms": alone.p99_ms,
            "p99_beside_readers_ms": beside_readers.p99_ms,
            "memory_growth_mb": growth_kb / 1024,
            "cut": cut,
            "missing": beside.highest_n - beside.lowest_n,
            **_times(beside),
        }

    def _measure(self, publisher: Publisher, load: LoadClient) -> Report:
        load.mark()
        events = publisher.run(self.events_per_second, self.seconds)
        return wait_for(load, events * self.readers)


Scenario = Delivery | Memory | Storm | Slow

UNPACED = ("unpaced", "nchan", "c")

SCENARIOS: dict[str, Scenario] = {
    "rate-20": Delivery(
        "1,000 clients of one company, 20 events/s", (*UNPACED, "portable", "naive"), 1000, 1, 20
    ),
    "rate-100": Delivery(
        "1,000 clients of one company, 100 events/s", ("paced", *UNPACED), 1000, 1, 100
    ),
    # Long enough that each server's heartbeats, one a client in 30 s, are in it: beside so few
    # events they are felt.
    "companies-1": Delivery(
        "1,000 clients of 100 companies, 1 event/s each", UNPACED, 1000, 100, 1, seconds=30
    ),
    "companies-10": Delivery(
        "1,000 clients of 100 companies, 10 events/s each", UNPACED, 1000, 100, 10
    ),
    # As many deliveries as `rate-20` has.
    "companies-20": Delivery(
        "1,000 clients of 100 companies, 20 events/s each", UNPACED, 1000, 100, 20
    ),
    "rate-1000": Delivery(
        "200 clients of one company, 1,000 events/s", ("paced", *UNPACED), 200, 1, 1000
    ),
    "memory": Memory("4,000 idle connections", ("paced", "portable", "nchan", "c", "naive"), 4000),
    "storm": Storm("2,000 clients return at once", ("paced",), 2000),
    "slow": Slow("200 readers beside 500 that never read", ("paced",), 200, 500),
}


def _times(report: Report) -> Figures:
    kept = ("p50_ms", "p99_ms", "p999_ms", "gaps", "errors", "closed")
    return {name: float(value) for name, value in asdict(report).items() if name in kept}


def _closed_as_slow(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith('analytics_stream_closed_total{reason="slow"}'):
                return float(line.split()[-1])
    return 0.0
