"""The same on a server that speaks S3, with keys from the environment of both processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from config import Settings
from embedded.child import Child, start_together, wait_until
from embedded.clickhouse_part import ClickHouseServer
from embedded.ports import free_port
from embedded.probes import get
from pipelines.databases import Databases
from pipelines.defs.backups.record import Kind
from pipelines.defs.backups.target import open_target
from sql.migrations import ClickHouseMigrations
from tests.live.backups.conftest import DAY, NOW, World
from tests.live.conftest import Backend, temporary_folder

KEYS = {"AWS_ACCESS_KEY_ID": "a-key-of-tests", "AWS_SECRET_ACCESS_KEY": "secret-of-tests"}


@pytest.fixture
def bucket() -> Iterator[str]:
    """Address of an S3 server with the bucket `safe`."""
    port = free_port()
    with temporary_folder() as folder, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=log,
        )
        try:
            assert wait_until(lambda: get("127.0.0.1", port, "/moto-api/") is not None, 60)
            address = f"http://127.0.0.1:{port}"
            assert httpx.put(f"{address}/safe").status_code == 200
            yield address
        finally:
            process.terminate()
            process.wait()


@pytest.fixture
def warehouse(monkeypatch: pytest.MonkeyPatch) -> Iterator[ClickHouseServer]:
    """A ClickHouse of this test's own: keys are part of its environment."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with temporary_folder() as folder:
        server = ClickHouseServer(Path(folder) / "clickhouse", free_port(), memory_mb=1024)
        process = Child(server.part(), Path(folder) / "logs", os.environ)
        start_together([process])
        try:
            yield server
        finally:
            process.stop()


def test_backups_in_a_bucket(
    settings: Settings, backend: Backend, bucket: str, warehouse: ClickHouseServer
) -> None:
    mine = settings.model_copy(
        update={
            "backup_target": f"s3://safe/of/analytics?endpoint={bucket}",
            "clickhouse_port": warehouse.port,
            "clickhouse_password": SecretStr(""),
        }
    )
    with contextlib.ExitStack() as stack:
        admin = stack.enter_context(
            Databases(
                lambda: mine.model_copy(update={"clickhouse_database": "default"})
            ).clickhouse()
        )
        ClickHouseMigrations(admin, mine.clickhouse_database).apply()
        databases = Databases(lambda: mine)
        pg = stack.enter_context(databases.postgres())
        world = World(mine, pg, stack.enter_context(databases.clickhouse()), Path("none"))
        world.publish(date(2026, 10, 30), range(0, 300))
        world.users("one")
        full = world.take(Kind.FULL)
        world.publish(date(2026, 11, 1), range(5000, 5010))
        second = world.take(at=NOW + DAY)
        assert full.target == "s3://safe/of/analytics"
        assert second.base_id == full.backup_id
        proven = world.drill(NOW + 2 * DAY)
        assert proven.drill is not None
        assert proven.drill.reasons == ()
        # Postgres is lost with its catalogue: the manifests in the bucket have it.
        pg.execute("TRUNCATE backups")
        world.ch.command("TRUNCATE TABLE events")
        world.pg.execute("DELETE FROM companies")
        done = world.restore(NOW + 2 * DAY)
        stack.enter_context(contextlib.closing(world.pg))
        assert done.backup_id == second.backup_id
        assert world.events() == {"2026-10-30": 300, "2026-11-01": 10}
        assert world.companies() == {"one"}
        # A file is changed behind everybody's back: the drill finds it there as well.
        listed = httpx.get(
            f"{bucket}/safe", params={"list-type": 2, "prefix": "of/analytics/"}
        ).text
        assert "postgres.dump" in listed
        open_target(mine, world.ch).store.put(f"{second.backup_id}/postgres.dump", b"x")
        drilled = world.drill(NOW + 3 * DAY)
        assert drilled.drill is not None
        assert "postgres.dump has 1 bytes" in drilled.drill.reasons[0]
        newer = world.take(Kind.FULL, NOW + 4 * DAY)
        assert set(world.prune(NOW + 100 * DAY)) == {full.backup_id, second.backup_id}
        listed = httpx.get(
            f"{bucket}/safe", params={"list-type": 2, "prefix": "of/analytics/"}
        ).text
        assert newer.backup_id in listed
        assert second.backup_id not in listed
        # No key is in anything that the server wrote down.
        world.ch.command("SYSTEM FLUSH LOGS")
        logged = world.ch.query("SELECT query FROM system.query_log WHERE query LIKE '%S3(%'")
        assert logged.result_rows
        assert not [row for row in logged.result_rows if KEYS["AWS_SECRET_ACCESS_KEY"] in row[0]]
