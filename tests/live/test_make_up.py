"""`make up` as a person runs it: everything answers, what dies comes back, nothing stays behind."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from embedded.child import wait_until
from embedded.demo.events import HISTORY_PERIODS
from embedded.demo.people import COMPANIES
from embedded.leftovers import TOKEN_VARIABLE
from tests.live.system import PARTS, free_ports, make_up

STOP_SECONDS = 30

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="analytics-test-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def ports() -> dict[str, int]:
    return free_ports()


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
        up.wait_for(r"^! sidecar: was ended by SIGKILL; starting it again now")
        up.wait_for(r"^  sidecar +ready +[\d.]+ s  again$")
        assert up.api("/health").json()["status"] == "ok"
        up.wait_for(r"^\d\d:\d\d:\d\d  \+\d+ events")

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
