"""What the image runs in each service of the compose file, run for real on the embedded servers.

Commands, healthchecks, environment and order are read from the file; only addresses, the folder of
Dagster and the names of databases are other ones here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml
from psycopg import sql

from config import Settings
from embedded.child import Child, start_together
from embedded.nats import NatsServer
from embedded.part import Part
from embedded.ports import free_port
from embedded.probes import answers_ok
from tests.compose import checks
from tests.live.conftest import Backend, own_settings, temporary_folder

REPOSITORY = Path(__file__).parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(
    (REPOSITORY / "docker-compose.yml").read_text()
)["services"]
OURS = {name: one for name, one in SERVICES.items() if one.get("build")}
CHECKED = [name for name, one in OURS.items() if "healthcheck" in one]
INTERPOLATED = re.compile(r"\$\{\w+:-(.*?)\}")
PAUSE_SECONDS = 1.0
LOADED = """{ workspaceOrError { ... on Workspace { locationEntries {
  name locationOrLoadError { __typename } } } } }"""


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


@dataclass(frozen=True)
class Image:
    """The image's working folder, and what stands here for the addresses of the compose file."""

    folder: Path
    # Whole words and values → what they are here; the same for parts of them.
    values: Mapping[str, str]
    parts: Mapping[str, str]
    database: str

    def here(self, text: str) -> str:
        """A word of a command, or a value of the environment."""
        text = INTERPOLATED.sub(r"\1", text)
        for written, here in self.parts.items():
            text = text.replace(written, here)
        return self.values.get(text, text)

    def words(self, words: list[str]) -> tuple[str, ...]:
        return tuple(self.here(word) for word in words)

    def environment(self, service: str) -> dict[str, str]:
        """The file's variables, the path to the programs, and what keeps this test apart, quick."""
        given = OURS[service]["environment"].items()
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CLICKHOUSE_DATABASE": self.database,
            "CLICKHOUSE_BATCH_TIMEOUT_MS": "500",
            **{name: self.here(value) for name, value in given if value is not None},
        }

    def run(self, service: str, words: list[str]) -> subprocess.CompletedProcess[str]:
        """A command that ends by itself."""
        return subprocess.run(
            self.words(words),
            env=self.environment(service),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def healthy(self, service: str) -> bool:
        """Ask the service's own healthcheck once."""
        kind, *words = OURS[service]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(service, words).returncode == 0

    def becomes_healthy(self, service: str) -> bool:
        """Ask once; pauses after a no, since each attempt is a process, and some load Dagster."""
        healthy = self.healthy(service)
        if not healthy:
            time.sleep(PAUSE_SECONDS)
        return healthy

    def child(self, service: str) -> Child:
        part = Part(
            name=service,
            command=self.words(OURS[service]["command"]),
            ready=lambda: self.becomes_healthy(service),
            ready_seconds=120,
            stop_seconds=20,
        )
        return Child(part, self.folder / "logs", self.environment(service))


@pytest.fixture
def image(backend: Backend, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Image]:
    """The image beside the embedded servers: its folder is all of the repository that it has."""
    dagster = f"dagster_{uuid.uuid4().hex[:12]}"
    with temporary_folder() as folder, backend.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(dagster)))
        code_port, webserver_port, sidecar_port = (str(free_port()) for _ in range(3))
        shutil.copytree(REPOSITORY / "deploy", folder / "deploy")
        workspace = folder / "deploy" / "workspace.yaml"
        text = workspace.read_text()
        assert "host: dagster-code\n" in text
        assert "port: 4000\n" in text
        workspace.write_text(
            text.replace("host: dagster-code", "host: 127.0.0.1").replace("4000", code_port)
        )
        home = folder / "dagster"
        home.mkdir()
        shutil.copy(REPOSITORY / "dagster.yaml", home)
        platform = settings.database_url.get_secret_value().rpartition("/")[2]
        # Processes are started in the folder that they would find there.
        monkeypatch.chdir(folder)
        try:
            yield Image(
                folder,
                values={
                    "clickhouse": "127.0.0.1",
                    "teei-analytics": "127.0.0.1",
                    "8123": str(backend.clickhouse.port),
                    "3007": sidecar_port,
                    "3000": webserver_port,
                    "4000": code_port,
                    "/var/lib/dagster": str(home),
                },
                parts={
                    "nats://nats:4222": settings.nats_url.get_secret_value(),
                    "postgres:5432/teei_platform": f"127.0.0.1:{backend.postgres.port}/{platform}",
                    "postgres:5432/dagster": f"127.0.0.1:{backend.postgres.port}/{dagster}",
                    "0.0.0.0": "127.0.0.1",  # noqa: S104
                    "127.0.0.1:3007": f"127.0.0.1:{sidecar_port}",
                    "127.0.0.1:3000": f"127.0.0.1:{webserver_port}",
                },
                database=settings.clickhouse_database,
            )
        finally:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(dagster)))


@pytest.mark.timeout(500)
def test_every_service_of_the_image_comes_up_healthy_in_the_order_of_the_file(
    image: Image, settings: Settings, backend: Backend
) -> None:
    with ThreadPoolExecutor() as pool, contextlib.ExitStack() as running_services:
        # A check that is content with nothing would say the same of anything.
        assert not any(pool.map(image.healthy, CHECKED))

        order = TopologicalSorter(
            {name: one["depends_on"].keys() & OURS.keys() for name, one in OURS.items()}
        )
        order.prepare()
        started: dict[str, Child] = {}
        while ready := order.get_ready():
            for name in ready:
                if name in CHECKED:
                    started[name] = image.child(name)
                    started[name].start()
                    running_services.callback(started[name].stop)
                else:
                    done = image.run(name, OURS[name]["command"])
                    assert done.returncode == 0, done.stderr
            list(pool.map(Child.wait_ready, (started[name] for name in ready if name in CHECKED)))
            order.done(*ready)
        assert started.keys() == set(CHECKED)

        with psycopg.connect(settings.database_url.get_secret_value()) as connection:
            assert connection.execute("SELECT count(*) FROM schema_migrations").fetchone() != (0,)
        with contextlib.closing(backend.clickhouse_client(settings.clickhouse_database)) as ch:
            url = image.here("http://127.0.0.1:3007")
            assert len(set(checks.check_events(url, settings.nats_url.get_secret_value(), ch))) == 2
        # The webserver has the definitions, by the code server of the workspace.
        answer = httpx.post(
            image.here("http://127.0.0.1:3000/graphql"), json={"query": LOADED}, timeout=30
        ).json()
        assert answer["data"]["workspaceOrError"]["locationEntries"] == [
            {"name": "pipelines", "locationOrLoadError": {"__typename": "RepositoryLocation"}}
        ]

        started["analytics"].stop()
        assert started["analytics"].returncode == 0
        assert not image.healthy("analytics")


def test_the_image_is_the_sidecar_when_no_command_is_given() -> None:
    text = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
    own = OURS["analytics"]
    # `CMD` stands in a line of its own, and behind HEALTHCHECK and its options.
    (healthcheck, command) = re.findall(r"\bCMD (\[.*\])$", text, re.MULTILINE)
    assert json.loads(command) == own["command"]
    assert json.loads(healthcheck) == own["healthcheck"]["test"][1:]
