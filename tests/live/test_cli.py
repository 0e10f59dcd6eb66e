"""The command line on real servers, run as a user would run it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from psycopg import sql

from config.settings import Settings
from tests.live.conftest import Backend
from tests.live.sidecar import SidecarProcess, environment

ROOT = Path(__file__).parents[2]
SECRET = "a secret of at least thirty-two bytes"
COMMAND = (sys.executable, "-m", "cli")
SECONDS = 60


class Analytics:
    """Runs `analytics` with the test's settings."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.variables = variables

    def __call__(
        self, *arguments: str, stdin: str = "", **extra: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=ROOT,
            env=self.variables | extra,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """The command while it runs; ended at the end."""
        with subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=ROOT,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def analytics(settings: Settings) -> Analytics:
    return Analytics(environment(settings))


@pytest.fixture
def sidecar(settings: Settings, analytics: Analytics) -> Iterator[SidecarProcess]:
    """A sidecar without the warehouse; commands know its port."""
    process = SidecarProcess(settings, CLICKHOUSE_ENABLED="false")
    process.start()
    analytics.variables["PORT_ANALYTICS"] = process.url.rpartition(":")[2]
    try:
        yield process
    finally:
        process.stop()


def wait_for_note(process: subprocess.Popen[str], text: str) -> None:
    """Read what a command says on standard error up to a line with `text`."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    pytest.fail(f"the command ended without a note {text!r}")


def event(n: int) -> str:
    # A number that a float can't hold, and a name that is not ASCII: both must come out as they
    # went in.
    return f'{{"companyId":"acme","metricName":"größe","value":{n},"big":12345678901234567890}}'


def test_published_events_are_tailed_as_they_were_sent(
    analytics: Analytics, sidecar: SidecarProcess
) -> None:
    with analytics.running("tail", "--company", "acme", "--json", "--count", "4") as tail:
        wait_for_note(tail, "live, 0 replayed")
        lines = "\n".join([event(1), "", event(2), '{"companyId":"other"}', event(3)])
        done = analytics("publish", "metrics.calculated", "-f", "-", "--json", stdin=lines)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["published"] == 4
        assert analytics("publish", "journey.flag.updated", event(4)).returncode == 0
        out, _ = tail.communicate(timeout=SECONDS)
        assert tail.returncode == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["event"] for row in rows] == ["metric_updated"] * 3 + ["journey_flag_updated"]
    assert [row["data"]["value"] for row in rows] == [1, 2, 3, 4]
    assert event(1) in out
    assert rows[0]["id"].startswith("metrics.calculated-1-")

    # From an id on: what came after it, and only the types that are wanted.
    again = analytics(
        "tail", "--company", "acme", "--last-id", rows[0]["id"],
        "--types", "metric_updated", "--count", "2",
    )  # fmt: skip
    assert again.returncode == 0
    assert [line.split()[2] for line in again.stdout.splitlines()] == [
        rows[1]["id"],
        rows[2]["id"],
    ]


def test_tail_comes_back_after_a_restart_without_loss(
    analytics: Analytics, sidecar: SidecarProcess
) -> None:
    with analytics.running("tail", "--company", "acme", "--json", "--count", "30") as tail:
        wait_for_note(tail, "live")
        for first in (0, 10, 20):
            lines = "\n".join(event(n) for n in range(first, first + 10))
            done = analytics("publish", "metrics.calculated", "-f", "-", stdin=lines)
            assert done.returncode == 0, done.stderr
            if first == 0:
                sidecar.kill()
            elif first == 10:
                sidecar.start()
        out, notes = tail.communicate(timeout=SECONDS)
    assert [json.loads(line)["data"]["value"] for line in out.splitlines()] == list(range(30))
    assert "connecting again in" in notes


def test_publish_keeps_its_rate_and_stops_at_a_bad_line(analytics: Analytics) -> None:
    done = analytics("publish", "metrics.a", event(1), "--count", "11", "--rate", "20", "--json")
    answer = json.loads(done.stdout)
    assert answer["published"] == 11
    # Ten pauses of 50 ms lie between eleven events.
    assert answer["seconds"] >= 0.5
    bad = analytics("publish", "metrics.a", "-f", "-", stdin=f"{event(1)}\n{{bad\n{event(2)}")
    assert bad.returncode == 1
    assert bad.stderr.startswith("line 2: not JSON")
    assert "(1 published before it)" in bad.stderr
    missing = analytics("publish", "metrics.a", "-f", "no-such-file.jsonl")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert missing.stderr.startswith("no-such-file.jsonl: No such file")


def test_what_nats_can_not_carry_is_one_line(analytics: Analytics) -> None:
    huge = json.dumps({"companyId": "acme", "text": "x" * 1_100_000})
    done = analytics("publish", "metrics.a", "-f", "-", stdin=huge)
    assert done.returncode == 1
    assert done.stderr.startswith("NATS took 0 events, then refused: ")
    assert done.stderr.count("\n") == 1


def test_tail_signs_its_own_token_and_says_why_it_is_refused(
    settings: Settings, analytics: Analytics
) -> None:
    with SidecarProcess(settings, CLICKHOUSE_ENABLED="false", JWT_SECRET=SECRET) as sidecar:
        analytics.variables["PORT_ANALYTICS"] = sidecar.url.rpartition(":")[2]
        without = analytics("tail", "--company", "acme", "--count", "1")
        assert without.returncode == 1
        assert without.stderr.startswith("the API answered 401: ")
        assert without.stderr.count("\n") == 1

        analytics.variables["JWT_SECRET"] = SECRET
        token = analytics("token", "--company", "other").stdout.strip()
        foreign = analytics("tail", "--company", "acme", ANALYTICS_TOKEN=token)
        assert foreign.returncode == 1
        assert foreign.stderr.startswith("the API answered 403: ")

        with analytics.running("tail", "--company", "acme", "--count", "1") as tail:
            wait_for_note(tail, "live")
            assert analytics("publish", "metrics.a", event(1)).returncode == 0
            out, _ = tail.communicate(timeout=SECONDS)
        assert "metrics.a-1-" in out


def test_psql_runs_the_guides_calls(analytics: Analytics, settings: Settings) -> None:
    database = settings.database_url.get_secret_value().rpartition("/")[2]
    done = analytics("psql", "-U", "teei", "-d", database, "-Atc", "SELECT count(*) FROM cohorts")
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    refused = analytics("psql", "-v", "ON_ERROR_STOP=1", "-c", "SELECT nonsense")
    assert refused.returncode == 1
    assert "nonsense" in refused.stderr


@pytest.fixture
def unmigrated(
    backend: Backend, settings: Settings, analytics: Analytics, ch: Client
) -> Iterator[None]:
    """Databases of the same servers that no migration has seen."""
    name = f"{settings.clickhouse_database}_new"
    with backend.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        analytics.variables["DATABASE_URL"] = backend.postgres.url(name)
        analytics.variables["CLICKHOUSE_DATABASE"] = name
        try:
            yield
        finally:
            ch.command(f"DROP DATABASE IF EXISTS {name}")
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


@pytest.mark.usefixtures("unmigrated")
def test_migrate_says_what_it_would_do_does_it_and_has_nothing_left_to_do(
    analytics: Analytics,
) -> None:
    plan = analytics("migrate", "--dry-run", "--json")
    assert plan.returncode == 0, plan.stderr
    planned = json.loads(plan.stdout)
    assert planned["dryRun"] is True
    assert planned["postgres"][0] == "0001_platform_tables"
    assert planned["clickhouse"][0] == "0001_events"
    # The dry run changed nothing: the same is still to do.
    assert json.loads(analytics("migrate", "--dry-run", "--json").stdout) == planned
    text = analytics("migrate", "--dry-run").stdout
    assert "postgres    would apply 0001_platform_tables\n" in text

    done = analytics("migrate", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == planned | {"dryRun": False}
    again = analytics("migrate")
    assert again.stdout == "postgres    up to date\nclickhouse  up to date\n"
    tables = analytics("query", "SHOW TABLES").stdout.splitlines()
    assert {"events", "metrics_timeseries"} <= set(tables)


def test_migrate_refuses_an_edited_migration_by_name(
    analytics: Analytics, pg: psycopg.Connection
) -> None:
    pg.execute("UPDATE schema_migrations SET checksum = 'x' WHERE name = '0002_cohorts'")
    done = analytics("migrate")
    assert done.returncode == 1
    assert done.stderr.startswith("migration refused: 0002_cohorts: edited")
    assert done.stderr.count("\n") == 1


def test_query_answers_in_the_format_that_is_asked_for(analytics: Analytics, ch: Client) -> None:
    database = ch.database
    select = "SELECT 1 AS a, 'x' AS b"
    assert analytics("query", select).stdout == "1\tx\n"
    assert json.loads(analytics("query", select, "--json").stdout) == {"a": 1, "b": "x"}
    assert "│ 1 │ x │" in analytics("query", select, "-F", "PrettyCompact").stdout
    # The statement's own FORMAT wins, a semicolon does no harm, and - reads standard input.
    assert analytics("query", f"{select} FORMAT CSV;", "--json").stdout == '1,"x"\n'
    assert analytics("query", "-", stdin="SELECT count()\nFROM events;\n").stdout == "0\n"
    assert analytics("query", f"SELECT count() FROM {database}.events").stdout == "0\n"
    assert (
        analytics("query", "SELECT currentDatabase()", "--database", "system").stdout == "system\n"
    )


def test_query_writes_too_and_streams_what_is_large(analytics: Analytics) -> None:
    insert = (
        "INSERT INTO cohorts (cohort_id, company_id, name, description, filters, created_at, "
        "updated_at) VALUES ('c', 'acme', 'n', '', '{}', now(), now())"
    )
    done = analytics("query", insert)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert analytics("query", "SELECT company_id FROM cohorts").stdout == "acme\n"
    large = analytics("query", "SELECT number FROM numbers(500000)")
    assert large.stdout.count("\n") == 500_000


@pytest.mark.parametrize(
    ("statement", "says"),
    [("SELEC 1", "SYNTAX_ERROR"), ("SELECT * FROM no_such_table", "UNKNOWN_TABLE")],
)
def test_query_gives_the_servers_reason_in_one_line(
    analytics: Analytics, statement: str, says: str
) -> None:
    done = analytics("query", statement)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ClickHouse refused: Code: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_query_into_a_pipe_that_closes_ends_without_a_traceback(analytics: Analytics) -> None:
    with analytics.running("query", "SELECT number FROM numbers(3000000)") as query:
        assert query.stdout is not None
        assert query.stdout.readline() == "0\n"
        query.stdout.close()
        assert query.stderr is not None
        assert query.stderr.read() == ""


def test_an_import_shows_its_progress_on_a_terminal(analytics: Analytics, tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    line = '{"companyId":"acme","metricName":"m","value":1,"timestamp":"2025-11-01T08:00:00Z"}\n'
    history.write_text(line * 1000, encoding="utf-8")
    terminal, behind = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "import", str(history), "--subject", "metrics.calculated"],
        cwd=ROOT,
        env=analytics.variables,
        stdout=subprocess.PIPE,
        stderr=behind,
        text=True,
    ) as process:
        out, _ = process.communicate(timeout=SECONDS)
    os.close(behind)
    shown = ""
    with suppress(OSError):  # the end
        while True:
            shown += os.read(terminal, 65536).decode()
    os.close(terminal)
    assert process.returncode == 0, shown
    assert "imported 1000 events" in out
    assert "history.jsonl  [" in shown
    assert "100%" in shown
