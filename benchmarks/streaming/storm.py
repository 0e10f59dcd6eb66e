"""The reconnect storm: each client resumes behind another event, events go on meanwhile."""

from __future__ import annotations

import json
import socket
import time

from benchmarks.streaming.load import SETTLE_SECONDS, LoadClient
from benchmarks.streaming.process import cpu_seconds, memory_kb
from benchmarks.streaming.publisher import Publisher
from benchmarks.streaming.servers import Server

EVENTS_BEFORE = 300
MISSED_AT_MOST = 200
EVENTS_PER_SECOND = 50.0
STORM_SECONDS = 6.0
READ_SECONDS = 5.0


def run_storm(server: Server, clients: int) -> dict[str, float]:
    """Seconds from the first connect until the last client is live, replay included."""
    publisher = Publisher(server.sink(), 1)
    ids = _ids_of_first_events(server, publisher)
    last = publisher.sent()
    file = server.folder / "ids"
    resumes = [last - 1 - number % MISSED_AT_MOST for number in range(clients)]
    file.write_text("".join(f"{n} {ids[n]}\n" for n in resumes))
    cpu, before = cpu_seconds(server.pids()), memory_kb(server.pids())
    with LoadClient(
        server.work,
        server.port,
        server.path,
        clients,
        ready=server.ready,
        in_flight=clients,
        ids=file,
    ) as load:
        publisher.run(EVENTS_PER_SECOND, STORM_SECONDS)
        time.sleep(SETTLE_SECONDS)
        ready = load.wait_ready()
        cpu = cpu_seconds(server.pids()) - cpu
        report = load.report()
    wanted = sum(publisher.sent() - n for n in resumes)
    return {
        "seconds": ready.ready_seconds,
        "cpu_seconds": cpu,
        "replayed": sum(last - n for n in resumes),
        "missing": wanted - report.deliveries,
        "behind": publisher.sent() - report.lowest_n,
        "gaps": report.gaps,
        "errors": report.errors,
        "closed": report.closed,
        "memory_growth_mb": (memory_kb(server.pids(), "VmHWM") - before) / 1024,
    }


def _ids_of_first_events(server: Server, publisher: Publisher) -> dict[int, str]:
    """Publish, and read the id of each event as a client does."""
    ids: dict[int, str] = {}
    with socket.create_connection(("127.0.0.1", server.port), timeout=READ_SECONDS) as reader:
        # HTTP/1.0: an answer without chunks.
        reader.sendall(f"GET {server.path % 0} HTTP/1.0\r\n\r\n".encode())
        lines = reader.makefile("rb")
        while not next(lines).startswith(server.ready.encode()):
            pass
        publisher.run(10 * EVENTS_PER_SECOND, EVENTS_BEFORE / (10 * EVENTS_PER_SECOND))
        number = 0
        while publisher.sent() not in ids:
            line = next(lines)
            if line.startswith(b"data: "):
                number = json.loads(line.removeprefix(b"data: ")).get("n")
            elif line.startswith(b"id: ") and number:
                ids[number] = line.removeprefix(b"id: ").decode().strip()
    return ids
