"""Start, stop, loss of power, memory."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest

from tests.live.clickhouse.process import (
    ClickHouseProcess,
    command,
    read_line,
    running,
    wait_until,
)


def test_a_taken_port_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        failed = subprocess.run(
            command(tmp_path, "--port", str(port)), capture_output=True, text=True, check=False
        )
    assert failed.returncode == 2
    assert failed.stderr.splitlines() == [
        f"Can't listen on 127.0.0.1:{port}: Address already in use."
    ]
    assert not (tmp_path / "store").exists()


def test_a_folder_in_use_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        failed = subprocess.run(
            command(tmp_path, "--port", "0"), capture_output=True, text=True, check=False
        )
        assert failed.returncode == 2
        assert failed.stderr.splitlines() == [
            f"The data folder {tmp_path} is in use by another process (pid {first.process.pid})."
        ]


@pytest.mark.parametrize("ready", [True, False])
def test_an_idle_or_starting_server_stops_at_once(tmp_path: Path, ready: bool) -> None:
    process = subprocess.Popen(
        command(tmp_path, "--port", "0"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    wait_until((tmp_path / "lock").exists)
    if ready:
        assert read_line(process.stdout, 30).startswith("ready ")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_a_stop_signal_ends_a_busy_server_in_bounds(tmp_path: Path) -> None:
    with running(tmp_path) as server, server.http() as http:
        http.post("/", content="CREATE TABLE t (a Int32) ENGINE = MergeTree ORDER BY a")
        http.post("/", content="INSERT INTO t VALUES (1)")
        answers: list[httpx.Response] = []

        def long_query() -> None:
            with server.http() as other:
                # One thread: a core is left for the end.
                statement = (
                    "SELECT sum(sipHash64(number)) FROM numbers(1e13) SETTINGS max_threads=1"
                )
                answers.append(other.post("/", content=statement))

        thread = threading.Thread(target=long_query)
        thread.start()
        busy = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sum(sipHash64%'"
        wait_until(lambda: http.post("/", content=busy).text == "1\n")
        server.process.terminate()
        # The query alone would take hours.
        assert server.process.wait(30) == 0
        thread.join()
    # The query was cancelled and its client told so, rather than cut off.
    assert [a.headers["X-ClickHouse-Exception-Code"] for a in answers] == ["394"]
    with running(tmp_path) as again, again.http() as http:
        assert http.post("/", content="SELECT a FROM t").text == "1\n"


def test_every_acknowledged_insert_survives_kill_9(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    enough = threading.Event()
    with running(tmp_path) as server:
        with closing(server.client()) as client:
            client.command("CREATE TABLE t (batch Int32, a Int32) ENGINE = MergeTree ORDER BY a")

        def insert(worker: int) -> None:
            with server.http() as http:
                for i in range(1000):
                    batch = worker * 1000 + i
                    body = "".join(f"{batch}\t{j}\n" for j in range(1000))
                    try:
                        answer = http.post(
                            "/", params={"query": "INSERT INTO t FORMAT TSV"}, content=body
                        )
                    except httpx.HTTPError:
                        return
                    if answer.status_code == 200:
                        acknowledged.append(batch)
                    if len(acknowledged) >= 40:
                        enough.set()

        threads = [threading.Thread(target=insert, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        assert enough.wait(30)
        server.process.kill()
        for thread in threads:
            thread.join()
    with running(tmp_path) as again, closing(again.client()) as client:
        counts = client.query("SELECT batch, count() FROM t GROUP BY batch").result_rows
    found: dict[int, int] = {batch: count for batch, count in counts}  # noqa: C416  # typed
    assert {batch: found.get(batch) for batch in acknowledged} == dict.fromkeys(acknowledged, 1000)


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys; child = subprocess.Popen(sys.argv[1:]);"
            "print(child.pid, flush=True); child.wait()",
            *command(tmp_path, "--port", "0", "--die-with-parent"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    with parent.stdout as out:
        child = psutil.Process(int(read_line(out, 30)))
        assert read_line(out, 30).startswith("ready ")
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        child.wait(30)


def test_a_long_result_does_not_stay_in_memory(server: ClickHouseProcess) -> None:
    with server.http() as http:
        http.post("/", content="SELECT 1")
        before = server.memory_mb()
        size = 0
        highest = before
        statement = "SELECT number, repeat('x', 40) FROM numbers(10000000) FORMAT RowBinary"
        with http.stream("POST", "/", content=statement) as answer:
            for piece in answer.iter_raw():
                size += len(piece)
                if size % 64 == 0:
                    highest = max(highest, server.memory_mb())
        highest = max(highest, server.memory_mb())
    assert size == 10_000_000 * (8 + 41)
    assert highest - before < 250


def test_a_large_insert_does_not_stay_in_memory(tmp_path: Path) -> None:
    with running(tmp_path) as server, server.http() as http:
        http.post("/", content="CREATE TABLE t (a Int64, s String) ENGINE = MergeTree ORDER BY a")
        before = server.memory_mb()
        highest = before
        piece = b"".join(b"%d\t%s\n" % (i, b"x" * 180) for i in range(5000))

        def body() -> object:
            nonlocal highest
            for _ in range(700):
                yield piece
                highest = max(highest, server.memory_mb())

        answer = http.post("/", params={"query": "INSERT INTO t FORMAT TSV"}, content=body())  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        assert http.post("/", content="SELECT count() FROM t").text == "3500000\n"
    assert len(piece) * 700 > 640e6
    assert highest - before < 600


def test_a_query_that_wants_too_much_memory_is_refused(tmp_path: Path) -> None:
    with (
        running(tmp_path, ("--port", "0", "--memory-mb", "600")) as server,
        server.http() as http,
    ):
        answer = http.post(
            "/",
            params={"max_bytes_ratio_before_external_group_by": "0"},
            content="SELECT count() FROM (SELECT number, groupArray(number)"
            " FROM numbers(50000000) GROUP BY number)",
        )
        assert answer.headers["X-ClickHouse-Exception-Code"] == "241"
        assert server.memory_mb() < 1200
        whole = http.post("/", content="SELECT repeat('x', 100) FROM numbers(10000000) FORMAT JSON")
        assert whole.headers["X-ClickHouse-Exception-Code"] in {"396", "241"}
        assert http.post("/", content="SELECT 1").text == "1\n"
