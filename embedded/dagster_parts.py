"""Dagster's three processes: one code server, which the webserver and the daemon share."""

from __future__ import annotations

import contextlib
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from config.addresses import LOOPBACK
from embedded.part import Part
from embedded.postgres import ANSWER_SECONDS, DAGSTER_DATABASE, PostgresServer
from embedded.probes import answers_http2, answers_ok

REPOSITORY = Path(__file__).resolve().parents[1]
# The repository's own workspace.yaml loads the module in every process that reads it; with a code
# server beside them, webserver and daemon don't each import it (3 s and 100 MB).
WORKSPACE = """\
load_from:
  - grpc_server:
      host: {host}
      port: {port}
      location_name: pipelines
"""
# All that matters is in Postgres by then; they stop one after the other, and people wait.
STOP_SECONDS = 2.0
HEARTBEATS = "SELECT EXISTS (SELECT FROM daemon_heartbeats WHERE timestamp > %(since)s)"


def write_home(home: Path, code_port: int) -> None:
    """DAGSTER_HOME as the three expect it: the repository's instance file, our workspace."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(REPOSITORY / "dagster.yaml", home / "dagster.yaml")
    (home / "workspace.yaml").write_text(
        WORKSPACE.format(host=LOOPBACK, port=code_port), encoding="utf-8"
    )


def parts(
    home: Path, postgres: PostgresServer, *, ui_port: int, code_port: int, after: tuple[str, ...]
) -> tuple[Part, ...]:
    """Code server, webserver, daemon; `after` is what Dagster's own storage needs."""
    environment = {
        "DAGSTER_HOME": str(home),
        "DAGSTER_POSTGRES_URL": postgres.url(DAGSTER_DATABASE).replace(
            "postgresql://", "postgresql+psycopg2://", 1
        ),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
    dagster = (sys.executable, "-m", "dagster")
    workspace = ("--workspace", str(home / "workspace.yaml"))
    return (
        Part(
            name="dagster-code",
            command=(
                *dagster,
                *("api", "grpc", "--module-name", "pipelines.definitions"),
                *("--host", LOOPBACK, "--port", str(code_port)),
                *("--working-directory", str(REPOSITORY), "--use-python-environment-entry-point"),
                *("--location-name", "pipelines", "--log-level", "warning"),
            ),
            environment=environment,
            after=after,
            ready=lambda: answers_http2(LOOPBACK, code_port),
            stop_seconds=STOP_SECONDS,
        ),
        Part(
            name="dagster-ui",
            command=(
                *(sys.executable, "-m", "dagster_webserver"),
                *("--host", LOOPBACK, "--port", str(ui_port), *workspace),
            ),
            environment=environment,
            after=("dagster-code",),
            ready=lambda: answers_ok(LOOPBACK, ui_port, "/server_info"),
            stop_seconds=STOP_SECONDS,
        ),
        Part(
            name="dagster-daemon",
            command=(*(sys.executable, "-m", "dagster._daemon"), "run", *workspace),
            environment=environment,
            after=("dagster-code",),
            ready=_Heartbeat(postgres),
            stop_seconds=STOP_SECONDS,
        ),
    )


class _Heartbeat:
    """The daemon serves nothing: it is ready when it has reported to its storage."""

    def __init__(self, postgres: PostgresServer) -> None:
        self._url = postgres.url(DAGSTER_DATABASE)
        self._since = datetime.now(UTC).replace(tzinfo=None)  # as Dagster stores it

    def __call__(self) -> bool:
        with (
            contextlib.suppress(psycopg.Error),
            psycopg.connect(self._url, connect_timeout=ANSWER_SECONDS) as connection,
        ):
            row = connection.execute(HEARTBEATS, {"since": self._since}).fetchone()
            return row is not None and bool(row[0])
        return False
