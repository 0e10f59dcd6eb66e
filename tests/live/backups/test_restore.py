"""Restores: whole, beside, single tables and days, after a disaster, and one that fails."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from typer.testing import CliRunner

from cli.__main__ import app
from pipelines.defs.backups import catalogue
from pipelines.defs.backups.after_restore import NATS_AWAY
from pipelines.defs.backups.record import Kind
from pipelines.defs.backups.restore_plan import RestoreRefusedError
from pipelines.defs.cohorts.sync import sync_cohorts
from pipelines.defs.retention import ledger
from pipelines.defs.retention.erasure import erase
from pipelines.defs.retention.subject import Subject
from tests.live.backups.conftest import DAY, NOW, World
from tests.live.backups.test_backup import damage
from tests.live.conftest import Backend

BEFORE = {"2026-10-30": 3000, "2026-10-31": 2000}


def spoil(world: World) -> None:
    """A day deleted, one doubled, a company added and one gone."""
    world.ch.command("ALTER TABLE events DROP PARTITION ID '20261030'")
    world.publish(date(2026, 10, 31), range(90_000, 90_700))
    world.pg.execute("DELETE FROM companies WHERE name = 'one'")
    world.users("late")


def test_a_whole_restore_brings_both_databases_back_and_keeps_the_catalogue(world: World) -> None:
    with_cohorts = sync_cohorts(world.pg, world.ch)
    assert with_cohorts.resync_reason == "no watermark"
    first = world.take(Kind.FULL)
    world.publish(date(2026, 11, 1), range(5000, 5100))
    second = world.take(at=NOW + DAY)
    spoil(world)
    lines = "\n".join(world.plan().lines(NOW + 2 * DAY))
    assert "1 d 0 h old, not drilled yet" in lines
    assert f"reads      {first.backup_id}, {second.backup_id}" in lines
    done = world.restore(NOW + 2 * DAY)
    assert done.backup_id == second.backup_id
    assert world.events() == BEFORE | {"2026-11-01": 100}
    assert world.companies() == {"one", "two"}
    # The second backup is younger than the dump that was restored.
    assert [one.backup_id for one in catalogue.read(world.pg)] == [
        first.backup_id,
        second.backup_id,
    ]
    # Nothing is left beside, and merges go on.
    left = world.ch.query("SELECT name FROM system.databases WHERE name LIKE '%restore%'")
    assert left.result_rows == []
    world.publish(date(2026, 10, 31), range(3000, 3100))
    world.ch.command("OPTIMIZE TABLE events FINAL")
    # Transactions are counted anew there: the sync compares everything once.
    reason = sync_cohorts(world.pg, world.ch).resync_reason
    assert reason is not None
    assert "another database" in reason
    assert world.drill(NOW + 3 * DAY).proven_at is not None


def test_a_restore_to_a_moment_goes_back_before_it(world: World) -> None:
    first = world.take(Kind.FULL)
    world.take(Kind.FULL, NOW + DAY)
    assert world.plan(to=NOW + timedelta(hours=5)).backup.backup_id == first.backup_id
    with pytest.raises(RestoreRefusedError, match="no trusted backup up to 2026-10-31"):
        world.plan(to=NOW - DAY)


def test_a_restore_beside_leaves_what_is_in_use(world: World) -> None:
    world.take(Kind.FULL)
    spoil(world)
    spoiled, companies = world.events(), world.companies()
    other = f"{world.settings.clickhouse_database}_other"
    url = world.settings.database_url.get_secret_value().rpartition("/")[0]
    try:
        world.restore(database=other)
        assert world.events(other) == BEFORE
        with psycopg.connect(f"{url}/{other}") as restored:
            names = restored.execute("SELECT name FROM companies ORDER BY 1").fetchall()
        assert names == [("one",), ("two",)]
        assert (world.events(), world.companies()) == (spoiled, companies)
        with pytest.raises(RestoreRefusedError, match="already"):
            world.plan(database=other)
    finally:
        world.ch.command(f"DROP DATABASE IF EXISTS {other}")
        with psycopg.connect(f"{url}/postgres", autocommit=True) as maintenance:
            maintenance.execute(f"DROP DATABASE IF EXISTS {other}")


def test_what_was_erased_stays_erased_in_place_and_beside(world: World) -> None:
    before = world.take(Kind.FULL)
    subject = Subject("company-0")
    # Events of that time are in the past of the erasure; users are not.
    erase(world.pg, world.ch, None, subject, datetime.now(UTC), requested_by="ann")
    assert world.companies_of_events() == {"company-1", "company-2"}
    other = f"{world.settings.clickhouse_database}_other"
    url = world.settings.database_url.get_secret_value().rpartition("/")[0]
    try:
        world.restore(database=other)
        assert world.companies_of_events(other) == {"company-1", "company-2"}
    finally:
        world.ch.command(f"DROP DATABASE IF EXISTS {other}")
        with psycopg.connect(f"{url}/postgres", autocommit=True) as maintenance:
            maintenance.execute(f"DROP DATABASE IF EXISTS {other}")
    done = world.restore(backup_id=before.backup_id)
    assert done.rows > 5000
    # The ledger is younger than the dump, and its copy in NATS can't be asked here.
    assert done.notes == (NATS_AWAY,)
    assert [entry.subject for entry in ledger.read(world.pg)] == [subject]
    assert world.companies_of_events() == {"company-1", "company-2"}


def test_what_was_mutated_before_the_backup_can_be_erased_after_the_restore(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Restored parts remember mutations; the table that they are restored into has had none."""
    for number in range(8):
        world.ch.command(
            f"ALTER TABLE events DELETE WHERE stream_seq = {number} SETTINGS mutations_sync = 2"
        )
    world.take(Kind.FULL)
    subject = Subject("company-0")
    erase(world.pg, world.ch, None, subject, datetime.now(UTC), requested_by="ann")
    done = world.restore()
    assert done.notes == (NATS_AWAY,)
    # The note is what an operator reads, no traceback of the client's.
    assert not [record for record in caplog.records if record.name.startswith("nats")]
    assert world.companies_of_events() == {"company-1", "company-2"}


def test_a_day_comes_back_beside_newer_rows_as_often_as_one_likes(world: World) -> None:
    world.take(Kind.FULL)
    spoil(world)
    wanted = [date(2026, 10, 30), date(2026, 10, 31)]
    for _ in range(2):
        world.restore(days=wanted)
        assert world.events() == {"2026-10-30": 3000, "2026-10-31": 2700}
    assert world.companies() == {"two", "late"}
    with pytest.raises(RestoreRefusedError, match="no events of 2026-12-25"):
        world.plan(days=[date(2026, 12, 25)])


def test_one_table_comes_back_alone(world: World) -> None:
    world.take(Kind.FULL)
    spoil(world)
    world.restore(tables=["events"])
    assert world.events() == BEFORE
    assert world.companies() == {"two", "late"}
    with pytest.raises(RestoreRefusedError, match="no table nothing; it has"):
        world.plan(tables=["nothing"])


@pytest.mark.parametrize("pattern", ["events/*/data.bin", "postgres.dump"])
def test_a_restore_that_fails_leaves_everything_as_it_was(world: World, pattern: str) -> None:
    backup = world.take(Kind.FULL)
    spoil(world)
    before = world.events(), world.companies()
    damage(world.files(backup, pattern)[0])
    with pytest.raises(RestoreRefusedError, match="nothing was changed"):
        world.restore()
    assert (world.events(), world.companies()) == before
    left = world.ch.query("SELECT name FROM system.databases WHERE name LIKE '%restore%'")
    assert left.result_rows == []


def test_both_databases_lost_come_back_by_one_command_from_the_backups_alone(
    world: World, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.take(Kind.FULL)
    world.publish(date(2026, 11, 1), range(5000, 5100))
    last = world.take(at=NOW + DAY)
    name = world.settings.clickhouse_database
    world.ch.command(f"DROP DATABASE {name} SYNC")
    world.pg.close()
    with backend.connect() as maintenance:
        maintenance.execute(f"DROP DATABASE {name} WITH (FORCE)")
        maintenance.execute(f"CREATE DATABASE {name}")
    url = world.settings.database_url.get_secret_value()
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("CLICKHOUSE_HOST", world.settings.clickhouse_host)
    monkeypatch.setenv("CLICKHOUSE_PORT", str(world.settings.clickhouse_port))
    monkeypatch.setenv("CLICKHOUSE_DATABASE", name)
    monkeypatch.setenv("NATS_URL", world.settings.nats_url.get_secret_value())
    done = CliRunner().invoke(app, ["restore", "--yes"], catch_exceptions=False)
    assert f"restored {last.backup_id}" in done.stdout
    world.pg = psycopg.connect(url, autocommit=True)
    assert world.events() == BEFORE | {"2026-11-01": 100}
    assert world.companies() == {"one", "two"}
    [(views,)] = world.ch.query(
        f"SELECT count() FROM system.tables WHERE database = '{name}' AND engine = 'View'"
    ).result_rows
    assert views == 3
    assert world.drill(NOW + 2 * DAY).proven_at is not None
