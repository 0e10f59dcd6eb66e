"""Commands of the compose file's images, run on the embedded servers; the rest wants Docker."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import psycopg
import pytest
import yaml

from config import Settings
from embedded.child import Child, start_together
from embedded.nats import NatsServer
from embedded.part import Part
from embedded.ports import free_port
from embedded.probes import answers_ok
from sql.migrations import split_statements
from tests.compose import checks
from tests.live.conftest import Backend, own_settings, temporary_folder
from tests.live.sidecar import SidecarProcess, environment

REPOSITORY = Path(__file__).parents[2]
SERVICES = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]


@pytest.fixture
def nats_url() -> Iterator[str]:
    """A NATS server with the compose file's configuration, healthy by the compose file's check."""
    port, health = free_port(), free_port()
    with temporary_folder() as folder:
        text = (REPOSITORY / "deploy" / "nats" / "nats.conf").read_text()
        for written, here in {
            "port: 4222": f"host: 127.0.0.1\nport: {port}",
            "http_port: 8222": f"http: 127.0.0.1:{health}",
            "store_dir: /data": f"store_dir: {folder}/data",
        }.items():
            assert len(re.findall(rf"^\s*{written}$", text, re.MULTILINE)) == 1, written
            text = re.sub(rf"^\s*{written}$", here, text, flags=re.MULTILINE)
        (folder / "nats.conf").write_text(text)
        path = SERVICES["nats"]["healthcheck"]["test"][-1].partition(":8222")[2]
        process = Child(
            Part(
                "nats",
                (NatsServer(folder, port).part().command[0], "-c", str(folder / "nats.conf")),
                ready=lambda: answers_ok("127.0.0.1", health, path),
            ),
            folder / "logs",
            os.environ,
        )
        start_together([process])
        try:
            yield f"nats://127.0.0.1:{port}"
        finally:
            process.stop()


@pytest.fixture
def settings(backend: Backend, nats_url: str) -> Iterator[Settings]:
    """Settings that name databases of this test's own; nothing has migrated them yet."""
    with own_settings(backend, nats_url, migrated=False) as settings:
        yield settings


def run(words: list[str], settings: Settings) -> subprocess.CompletedProcess[str]:
    """A command of the image, as it would find its programs there."""
    first = Path(sys.executable).with_name(words[0])
    return subprocess.run(
        [str(first), *words[1:]],
        env=environment(settings),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_migrations_sidecar_and_healthcheck_do_what_the_file_says(
    settings: Settings, backend: Backend
) -> None:
    migrated = run(SERVICES["migrate"]["command"], settings)
    assert migrated.returncode == 0, migrated.stderr
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        assert connection.execute("SELECT count(*) FROM schema_migrations").fetchone() != (0,)

    assert SERVICES["analytics"]["command"] == ["python", "-m", "stream_api"]
    sidecar = SidecarProcess(settings, CLICKHOUSE_BATCH_TIMEOUT_MS="500")
    sidecar.start()
    try:
        words = SERVICES["analytics"]["healthcheck"]["test"][1:]
        healthy = [word.replace("http://127.0.0.1:3007", sidecar.url) for word in words]
        assert run(healthy, settings).returncode == 0
        with contextlib.closing(
            clickhouse_connect.get_client(
                host="127.0.0.1",
                port=backend.clickhouse.port,
                database=settings.clickhouse_database,
                autogenerate_session_id=False,
            )
        ) as ch:
            companies = checks.check_events(sidecar.url, settings.nats_url.get_secret_value(), ch)
        assert len(set(companies)) == 2
    finally:
        assert sidecar.stop() == 0
    assert run(healthy, settings).returncode != 0


def test_the_engine_reads_the_row_policies_as_they_are_written(backend: Backend) -> None:
    """It has no users to make them for; on a real server `bin/test-compose` tries them."""
    text = (REPOSITORY / "deploy" / "clickhouse" / "row_policies.sql").read_text()
    with contextlib.closing(backend.clickhouse_client()) as ch:
        kinds = [
            str(ch.command(f"EXPLAIN AST {one}")).partition("Query")[0].strip()
            for one in split_statements(text)
        ]
    policy = "CREATE ROW POLICY or ALTER ROW POLICY query"
    assert kinds == ["CreateRole", policy, policy, *["Grant"] * 7]


def test_without_docker_it_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", REPOSITORY / "bin" / "test-compose"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "DOCKER_HOST": "unix:///nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "Docker" in done.stderr
