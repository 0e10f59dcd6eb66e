"""`make up` as a person runs it: everything answers, what dies comes back, nothing stays behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from config.settings import variable_names
from embedded.child import wait_until
from embedded.demo.events import HISTORY_PERIODS
from embedded.demo.people import COMPANIES
from embedded.leftovers import TOKEN_VARIABLE
from embedded.ports import free_port

REPOSITORY = Path(__file__).parents[2]
PORTS = ("POSTGRES_PORT", "NATS_PORT", "CLICKHOUSE_PORT", "DAGSTER_PORT", "PORT_ANALYTICS")
READY_SECONDS = 90
STOP_SECONDS = 10
PARTS = {
    *("postgres", "nats", "clickhouse", "sidecar"),
    *("dagster-code", "dagster-ui", "dagster-daemon"),
}

pytestmark = pytest.mark.timeout(300)


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


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="analytics-test-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def ports() -> dict[str, int]:
    return {name: free_port() for name in PORTS}


def test_the_whole_system_with_its_demo(folder: Path, ports: dict[str, int]) -> None:
    with make_up(folder, ports) as up:
        up.wait_for(r"^ready in [\d.]+ s$")
        first_event_is_shown = up.wait_for(r"first event +[\d.]+ s  (\S+) (\S+)")
        assert first_event_is_shown[2] in {company.id for company in COMPANIES}
        table = up.wait_for(r"^  Dashboard .*(?:\n.*)*Ctrl-C stops everything.*$")[0]
        for port in ports.values():
            assert f":{port}" in table
        assert up.children().keys() == {*PARTS, "demo"}

        health = up.api("/health").json()
        assert health["status"] == "ok"
        assert up.api("/").headers["content-type"].startswith("text/html")
        dagster = httpx.get(f"http://127.0.0.1:{ports['DAGSTER_PORT']}/server_info")
        assert dagster.status_code == 200
        with up.platform() as connection:
            rows = connection.execute("SELECT company_id, count(*) FROM cohorts GROUP BY 1")
            assert {row[0] for row in rows} == {company.id for company in COMPANIES}
        periods = "SELECT uniqExact(period_start) FROM metrics_timeseries"
        assert wait_until(lambda: int(up.warehouse(periods)) > HISTORY_PERIODS, 30)

        up.children()["sidecar"].kill()
        up.wait_for(r"^! sidecar: was ended by SIGKILL; starting it again now", 5)
        up.wait_for(r"^  sidecar +ready +[\d.]+ s  again$", 20)
        assert up.api("/health").json()["status"] == "ok"
        up.wait_for(r"^\d\d:\d\d:\d\d  \+\d+ events", 15)

        left = [up.process.pid, *(child.pid for child in up.children().values())]
        up.process.send_signal(signal.SIGTERM)
        assert up.process.wait(STOP_SECONDS) == 0
        assert "the data stays in" in up.text()
        assert "Traceback" not in up.text()
        assert not any(psutil.pid_exists(pid) for pid in left)


def test_without_demo_nothing_is_ours_and_a_killed_one_leaves_nothing(
    folder: Path, ports: dict[str, int]
) -> None:
    with make_up(folder, ports, DEMO="0") as up:
        up.wait_for(r"^ready in [\d.]+ s$")
        assert up.children().keys() == PARTS
        with up.platform() as connection:
            for table in ("companies", "users", "cohorts", "metrics_company_period"):
                assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        assert up.warehouse("SELECT count() FROM events") == "0"
        assert "first event" not in up.text()
        token = up.children()["sidecar"].environ()[TOKEN_VARIABLE]
        up.process.kill()
        up.process.wait()

    with make_up(folder, ports, DEMO="0") as up:
        up.wait_for(r"^ready in [\d.]+ s$")
        assert not [one.pid for one in psutil.process_iter() if token_of(one) == token]
        for _ in range(3):  # repeated signals change nothing
            up.process.send_signal(signal.SIGINT)
        assert up.process.wait(STOP_SECONDS) == 0
        assert up.text().count("stopping ...") == 1


def token_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(TOKEN_VARIABLE)
    except psutil.Error:
        return None
