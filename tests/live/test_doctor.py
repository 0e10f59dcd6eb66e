"""`analytics doctor` on a running system, each server really stopped, and every command of the
runbook.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from cli.__main__ import main
from cli.doctor.check import Finding, State
from cli.doctor.command import examine
from cli.doctor.runbook import Entry
from cli.doctor.servers import Servers
from cli.doctor.sidecar import stream_flows
from config import Settings, load_settings
from config.addresses import with_embedded_ports
from config.settings import variable_names
from embedded.child import wait_until
from pipelines.postgres_programs import connection_variables, find_program
from tests.live.system import DEFAULT_PORTS, REPOSITORY, Up, at_ports, free_ports, make_up

pytestmark = pytest.mark.timeout(300)

RUNBOOK = REPOSITORY / "docs" / "runbook"
HEALTHY_SECONDS = 150


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """One `make up` for the whole file, in a folder with `.data` as the repository has it."""
    folder = Path(tempfile.mkdtemp(prefix="analytics-doctor-"))
    try:
        with make_up(folder, free_ports(), CLICKHOUSE_BATCH_TIMEOUT_MS="500") as running:
            (folder / ".data").symlink_to(folder / "data")
            running.wait_for(r"^ready in [\d.]+ s$")
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def settings(up: Up) -> Settings:
    """As a terminal that knows the ports has them."""
    ports = {name: str(port) for name, port in up.ports.items()}
    data = {"ANALYTICS_DATA": str(up.output.parent / "data")}
    return load_settings(with_embedded_ports(ports | data), env_file=None)


@pytest.fixture
def terminal(up: Up, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder and the environment in which a person types."""
    for name in (*variable_names(), "ANALYTICS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, port in up.ports.items():
        monkeypatch.setenv(name, str(port))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(up.output.parent)
    return up.output.parent


def wrong(findings: dict[str, Finding]) -> dict[str, str]:
    return {name: one.text for name, one in findings.items() if one.state is not State.OK}


def test_a_healthy_system_is_all_ok(settings: Settings) -> None:
    found: dict[str, Finding] = {}

    def healthy() -> bool:
        found.update(examine(Servers.of(settings)))
        return not wrong(found)

    # The first sync and the first refresh come after the start.
    assert wait_until(healthy, HEALTHY_SECONDS), wrong(found)
    assert len(found) == 30


# --- The runbook ----------------------------------------------------------------------------


def check_commands() -> list[str]:
    """Each line of the blocks that follow a `**Check.**`, once."""
    commands: dict[str, None] = {}
    for page in sorted(RUNBOOK.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"\*\*Check\.\*\*.*?```bash\n(.*?)```", text, re.DOTALL):
            commands.update(dict.fromkeys(block.splitlines()))
    return list(commands)


def run_here(command: str, terminal: Path, settings: Settings) -> tuple[int, str]:
    """Exit code and output of a line; `analytics` without the start of a process."""
    words = shlex.split(command)
    if words[:2] == ["analytics", "psql"]:
        url = settings.database_url.get_secret_value()
        line: list[str] = [find_program("psql"), "-v", "ON_ERROR_STOP=1", *words[2:]]
        environment = os.environ | connection_variables(url)
    else:
        line = ["bash", "-o", "pipefail", "-c", command]
        environment = dict(os.environ)
    done = subprocess.run(
        line, cwd=terminal, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stdout + done.stderr


def run_analytics(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = 0
    try:
        main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    said = capsys.readouterr()
    return code, said.out + said.err


def test_every_check_of_the_runbook_runs(
    up: Up, settings: Settings, terminal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failures = []
    commands = check_commands()
    assert len(commands) > 50
    ports = {default: up.ports[name] for default, name in DEFAULT_PORTS.items()}
    for command in commands:
        here = at_ports(command, ports)
        words = shlex.split(here)
        if words[0] == "analytics" and words[1] != "psql":
            code, said = run_analytics(words[1:], capsys)
        else:
            code, said = run_here(here, terminal, settings)
        # curl ends a stream by its time limit with 28 and says 0 to an error of the API; what head
        # has cut short ends with 141, and curl with 23.
        if code not in {0, 23, 28, 141} or '"error":' in said:
            failures.append(f"{command}\n  → {code}: {said.strip()[-300:]}")
    assert not failures, "\n".join(failures)


# --- A proxy that gathers -------------------------------------------------------------------


@contextmanager
def gathering_proxy(port: int, *, passes_head: bool) -> Iterator[str]:
    """A proxy that keeps an answer until its end, or passes only its head on; its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=handle, args=(client,), daemon=True).start()

    def handle(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            server.sendall(client.recv(65536))
            gathered = b""
            told = not passes_head
            while part := server.recv(65536):
                gathered += part
                if not told and b"\r\n\r\n" in gathered:
                    client.sendall(gathered.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
                    told = True

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


@pytest.mark.parametrize("passes_head", [True, False])
def test_a_proxy_that_holds_events_back_is_named(settings: Settings, passes_head: bool) -> None:
    with gathering_proxy(settings.port_analytics, passes_head=passes_head) as url:
        found = stream_flows(Servers.of(settings, url=url))
    assert (found.state, found.see) == (State.FAILED, Entry.PROXY_BUFFERS), found
    assert "the sidecar itself streams at once" in found.text


# --- Each server really stopped -------------------------------------------------------------


@contextmanager
def stopped(up: Up, part: str) -> Iterator[None]:
    """The part killed, while its supervisor sleeps; afterwards it is started again and awaited."""
    child = up.children()[part]
    up.process.send_signal(signal.SIGSTOP)
    try:
        child.kill()
        assert wait_until(lambda: child.status() == psutil.STATUS_ZOMBIE, 10)
        yield
    finally:
        up.process.send_signal(signal.SIGCONT)
    up.wait_for(rf"^  {part} +ready +[\d.]+ s  again$")


@pytest.mark.parametrize(
    ("part", "check", "see", "says"),
    [
        ("dagster-ui", "dagster", Entry.DAGSTER_AWAY, "no answer at http://127.0.0.1:"),
        ("clickhouse", "clickhouse", Entry.CLICKHOUSE_AWAY, "ClickHouse does not answer at"),
        ("sidecar", "sidecar", Entry.SIDECAR_AWAY, "the sidecar gives no answer at"),
        ("nats", "nats", Entry.NATS_AWAY, "NATS does not answer at nats://127.0.0.1:"),
        # Last, since Dagster's parts go with it.
        ("postgres", "postgres", Entry.POSTGRES_AWAY, "Postgres does not answer at postgresql://"),
    ],
)
def test_a_stopped_server_is_named(
    up: Up, settings: Settings, part: str, check: str, see: Entry, says: str
) -> None:
    with stopped(up, part):
        found = examine(Servers.of(settings))
    named = found[check]
    assert (named.state, named.see) == (State.FAILED, see), wrong(found)
    assert named.text.startswith(says)
    # What leans on it is not looked at, and everything has an answer.
    followers = [one for one in found.values() if one.text.endswith(f"see {check}")]
    assert followers
    assert all(one.state is State.SKIPPED for one in followers)
    assert not [one.text for one in found.values() if "could not be looked at" in one.text]


def test_a_silent_daemon_is_named(up: Up, settings: Settings) -> None:
    url = settings.database_url.get_secret_value().rpartition("/")[0] + "/dagster"
    assert wait_until(
        lambda: httpx.get(f"http://127.0.0.1:{settings.dagster_port}/server_info").is_success, 30
    )
    up.process.send_signal(signal.SIGSTOP)
    try:
        daemon = up.children()["dagster-daemon"]
        daemon.kill()
        assert wait_until(lambda: daemon.status() == psutil.STATUS_ZOMBIE, 10)
        with psycopg.connect(url, autocommit=True) as pg:
            # Its reports of two minutes ago: nobody waits for them to grow old.
            pg.execute(
                r"""UPDATE daemon_heartbeats SET body = regexp_replace(
                body, '"timestamp": ([0-9.]+)', '"timestamp": 1000000000.0')"""
            )
        found = examine(Servers.of(settings))["daemons"]
    finally:
        up.process.send_signal(signal.SIGCONT)
    assert (found.state, found.see) == (State.FAILED, Entry.DAEMON), found
    assert "SENSOR" in found.text
