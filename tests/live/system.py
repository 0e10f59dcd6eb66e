"""A real `make up`, and what a person can do with it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import psycopg

from config.addresses import LOOPBACK
from config.settings import variable_names
from embedded.child import wait_until

REPOSITORY = Path(__file__).parents[2]
PORTS = ("POSTGRES_PORT", "NATS_PORT", "CLICKHOUSE_PORT", "DAGSTER_PORT", "PORT_ANALYTICS")
READY_SECONDS = 90
PARTS = {
    *("postgres", "nats", "clickhouse", "sidecar"),
    *("dagster-code", "dagster-ui", "dagster-daemon"),
}


@dataclass(frozen=True)
class Up:
    """One running `make up`."""

    process: subprocess.Popen[bytes]
    output: Path
    ports: dict[str, int]

    def text(self) -> str:
        return self.output.read_text()

    def wait_for(self, pattern: str, seconds: float = READY_SECONDS) -> re.Match[str]:
        found: list[re.Match[str]] = []

        def look() -> bool:
            match = re.search(pattern, self.text(), re.MULTILINE)
            found.extend([match] if match else [])
            return bool(found) or self.process.poll() is not None

        assert wait_until(look, seconds), self.text()
        assert found, f"it ended with {self.process.returncode}:\n{self.text()}"
        return found[0]

    def children(self) -> dict[str, psutil.Process]:
        """Part → its process."""
        names = {}
        for child in psutil.Process(self.process.pid).children():
            command = child.cmdline()
            for part, mark in MARKS.items():
                if any(mark in word for word in command):
                    names[part] = child
        return names

    def api(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.ports['PORT_ANALYTICS']}{path}", timeout=10)

    def warehouse(self, statement: str) -> str:
        url = f"http://127.0.0.1:{self.ports['CLICKHOUSE_PORT']}/"
        answer = httpx.post(url, params={"database": "teei_analytics"}, content=statement)
        return answer.raise_for_status().text.strip()

    def platform(self) -> psycopg.Connection:
        port = self.ports["POSTGRES_PORT"]
        return psycopg.connect(f"postgresql://teei@127.0.0.1:{port}/teei_platform")


# What a person finds at the default addresses.
DEFAULT_PORTS = {3007: "PORT_ANALYTICS", 3000: "DAGSTER_PORT", 8123: "CLICKHOUSE_PORT"}


def at_ports(text: str, ports: dict[int, int]) -> str:
    """A text of the documentation with other ports in place of those that it names."""
    return re.sub(r"127\.0\.0\.1([: ])(\d+)", lambda m: f"127.0.0.1{m[1]}{ports[int(m[2])]}", text)


MARKS = {
    "postgres": "bin/postgres",
    "nats": "nats-server",
    "clickhouse": "embedded.clickhouse",
    "sidecar": "stream_api",
    "dagster-code": "pipelines.definitions",
    "dagster-ui": "dagster_webserver",
    "dagster-daemon": "dagster._daemon",
    "demo": "embedded.demo",
}


@contextmanager
def make_up(folder: Path, ports: dict[str, int], **variables: str) -> Iterator[Up]:
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "embedded"],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=folder,  # no .env of the developer's
            env={
                **{name: os.environ[name] for name in os.environ.keys() - set(variable_names())},
                "PYTHONPATH": str(REPOSITORY),
                "ANALYTICS_DATA": str(folder / "data"),
                **{name: str(port) for name, port in ports.items()},
                **variables,
            },
        )
    try:
        yield Up(process, output, ports)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)


def free_ports() -> dict[str, int]:
    """A free port for each part, by the name of its setting: no port twice."""
    with ExitStack() as held:
        sockets = {name: held.enter_context(socket.socket()) for name in PORTS}
        for one in sockets.values():
            one.bind((LOOPBACK, 0))
        return {name: int(one.getsockname()[1]) for name, one in sockets.items()}
