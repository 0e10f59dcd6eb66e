"""Errors that pass by themselves make a step run again; all others fail it at once."""

import contextlib

import dagster as dg
import psycopg
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from config import Settings
from pipelines import transient
from pipelines.databases import Databases
from pipelines.definitions import defs
from tests.live.conftest import Backend

ASSETS = {
    asset.node_def.name: asset
    for asset in defs.get_repository_def().assets_defs_by_key.values()
    if asset.is_executable
}


def attempts(step: object) -> tuple[int, bool]:
    """How often the step began, and whether it succeeded in the end."""
    began = 0

    @dg.op
    def work() -> None:
        nonlocal began
        began += 1
        with transient.repeated_if_transient():
            step(began)  # type: ignore[operator]

    @dg.job
    def once() -> None:
        work()

    result = once.execute_in_process(raise_on_error=False)
    return began, result.success


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transient, "PAUSE_SECONDS", 0)


def test_a_connection_that_the_server_cuts_is_made_anew(
    databases: Databases, pg: psycopg.Connection
) -> None:
    def cut_once(attempt: int) -> None:
        with databases.postgres() as connection:
            if attempt == 1:
                pg.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
            connection.execute("SELECT 1")

    assert attempts(cut_once) == (2, True)


def test_a_failed_serialization_runs_again(databases: Databases, pg: psycopg.Connection) -> None:
    pg.execute("CREATE TABLE counted (n integer)")
    pg.execute("INSERT INTO counted VALUES (0)")

    def overtaken_once(attempt: int) -> None:
        with databases.postgres() as connection:
            connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
            with connection.transaction():
                connection.execute("SELECT n FROM counted")
                if attempt == 1:
                    pg.execute("UPDATE counted SET n = n + 1")
                connection.execute("UPDATE counted SET n = n + 10")

    assert attempts(overtaken_once) == (2, True)
    assert pg.execute("SELECT n FROM counted").fetchone() == (11,)


def test_a_server_that_stays_away_fails_after_three_repeats(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"clickhouse_port": 1})

    def ask(_: int) -> None:
        with Databases(lambda: nowhere).clickhouse() as ch:
            ch.command("SELECT 1")

    assert attempts(ask) == (4, False)


@pytest.mark.parametrize(
    "wrong",
    ["SELECT nothing", "SELECT 1/0", "INSERT INTO companies (id) SELECT NULL"],
)
def test_a_wrong_statement_fails_at_once(databases: Databases, wrong: str) -> None:
    def ask(_: int) -> None:
        with databases.postgres() as connection:
            connection.execute(wrong)

    assert attempts(ask) == (1, False)


def test_a_refused_user_and_a_wrong_statement_of_clickhouse_fail_at_once(
    databases: Databases, backend: Backend
) -> None:
    def unknown_database(_: int) -> None:
        with contextlib.closing(psycopg.connect(backend.postgres.url("nowhere"))):
            pass

    def wrong(_: int) -> None:
        with databases.clickhouse() as ch:
            ch.command("SELECT nothing")

    assert attempts(unknown_database) == (1, False)
    assert attempts(wrong) == (1, False)


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_each_asset_waits_for_servers_that_are_away(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = ASSETS[name]
    monkeypatch.setenv("DATABASE_URL", "postgresql://teei@127.0.0.1:1/none")
    monkeypatch.setenv("CLICKHOUSE_PORT", "1")
    partitions = asset.partitions_def
    with dg.DagsterInstance.ephemeral() as instance:
        key = None
        if isinstance(partitions, dg.DynamicPartitionsDefinition):
            key = "company"
            instance.add_dynamic_partitions(str(partitions.name), [key])
        elif partitions is not None:
            key = partitions.get_first_partition_key()
        result = dg.materialize([asset], instance=instance, partition_key=key, raise_on_error=False)
    repeats = [one for one in result.all_events if one.event_type_value == "STEP_RESTARTED"]
    assert (len(repeats), result.success) == (transient.RETRIES, False)


def test_too_many_parts_passes_by_itself() -> None:
    assert transient.is_transient(DatabaseError("Code: 252. Too many parts", code=252))
    assert not transient.is_transient(DatabaseError("Code: 60. Unknown table", code=60))
