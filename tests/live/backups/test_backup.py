"""What a backup holds, what the catalogue says of it, and what a drill finds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from pipelines.defs.backups import catalogue
from pipelines.defs.backups.record import Backup, Kind
from pipelines.defs.backups.target import MANIFEST
from tests.live.backups.conftest import DAY, NOW, World


def test_an_incremental_backup_holds_what_changed_and_restores_with_its_base(world: World) -> None:
    full = world.take(Kind.FULL)
    world.publish(date(2026, 11, 1), range(5000, 5500))
    world.users("three")
    second = world.take(at=NOW + DAY)
    assert (full.kind, second.kind, second.base_id) == ("full", "incremental", full.backup_id)
    assert second.bytes < full.bytes
    assert second.table_figures()["events"].rows == 5500
    days = {day: one.figures.rows for day, one in second.warehouse["events"].items()}
    assert days == {"20261030": 3000, "20261031": 2000, "20261101": 500}
    assert second.platform is not None
    assert second.platform.tables["companies"].rows == 3
    proven = world.drill(NOW + 2 * DAY)
    assert proven.drill is not None
    assert (proven.backup_id, proven.drill.reasons) == (second.backup_id, ())
    assert proven.drill.rpo_seconds == timedelta(days=1).total_seconds()
    [_, last] = catalogue.read(world.pg)
    assert last == proven
    assert last.proven_at == NOW + 2 * DAY
    # Manifest and row say the same.
    manifest = world.folder / second.backup_id / MANIFEST
    assert Backup.from_json(manifest.read_text()) == last


def test_no_password_is_in_a_backup(world: World) -> None:
    """The window into Postgres is defined with one."""
    world.ch.command(
        "CREATE TABLE user_cohorts_postgres (a String) "
        "ENGINE = PostgreSQL('127.0.0.1:1', 'd', 't', 'u', 'pass-of-postgres')"
    )
    backup = world.take(Kind.FULL)
    texts = b"".join(path.read_bytes() for path in world.files(backup, "*.sql"))
    assert b"CREATE TABLE" in texts
    assert b"pass-of-postgres" not in texts


def test_rows_that_come_in_meanwhile_don_t_disturb_the_fingerprint(world: World) -> None:
    stop = threading.Event()
    first = 10_000

    def insert() -> None:
        nonlocal first
        other = type(world)(world.settings, world.pg, world.ch, world.folder)
        while not stop.is_set():
            other.publish(date(2026, 11, 1), range(first, first + 100))
            first += 100

    thread = threading.Thread(target=insert)
    thread.start()
    try:
        taken = [world.take(Kind.FULL), world.take(at=NOW + DAY), world.take(at=NOW + 2 * DAY)]
    finally:
        stop.set()
        thread.join()
    counts = [one.table_figures()["events"].rows for one in taken]
    assert counts[0] < counts[2] < 5000 + first - 10_000 + 1
    assert world.drill(NOW + 3 * DAY).drill is not None
    [*_, last] = catalogue.read(world.pg)
    assert last.drill is not None
    assert last.drill.reasons == ()


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


HARMS: list[tuple[Callable[[Path], None], str, str]] = [
    (damage, "events/*/data.bin", "events: part 2026"),
    # An index is in no fingerprint; CHECK TABLE reads it.
    (damage, "events/*/primary.cidx", "events: part 2026"),
    (truncate, "events/*/data.bin", "ClickHouse can't restore"),
    (truncate, ".backup", "ClickHouse can't restore"),
    (damage, "postgres.dump", "postgres.dump has another checksum"),
    (truncate, "postgres.dump", "postgres.dump has"),
    (Path.unlink, "postgres.dump", "is missing"),
]


def test_a_drill_finds_and_names_what_is_damaged(world: World) -> None:
    backup = world.take(Kind.FULL)
    for harm, pattern, reason in HARMS:
        file = world.files(backup, pattern)[0]
        whole = file.read_bytes()
        harm(file)
        drilled = world.drill(NOW + DAY)
        file.write_bytes(whole)
        assert drilled.drill is not None
        assert not drilled.drill.passed, pattern
        assert any(reason in one for one in drilled.drill.reasons), drilled.drill.reasons
        assert drilled.proven_at is None
    # Nothing builds on it, and nothing of the drills is left.
    assert world.take(at=NOW + 2 * DAY).kind is Kind.FULL
    left = world.ch.query("SELECT name FROM system.databases WHERE name LIKE '%drill'").result_rows
    assert left == []


def test_a_backup_that_fails_is_failed_in_the_catalogue_and_no_base(world: World) -> None:
    broken = world.settings.model_copy(update={"clickhouse_database": "missing"})
    other = World(broken, world.pg, world.ch, world.folder)
    with pytest.raises(Exception, match="missing"):
        other.take(Kind.FULL)
    [*_, last] = catalogue.read(world.pg)
    assert last.state == "failed"
    assert "missing" in (last.error or "")
    again = world.take()
    assert (again.kind, again.state) == ("full", "complete")


def test_pruning_removes_files_and_keeps_what_is_needed(world: World) -> None:
    first = world.take(Kind.FULL)
    second = world.take(Kind.FULL, NOW + DAY)
    third = world.take(at=NOW + 2 * DAY)
    assert world.prune(NOW + 20 * DAY) == []
    # The one before the window stays, and its base with it.
    assert world.prune(NOW + 60 * DAY) == [first.backup_id]
    assert not (world.folder / first.backup_id).exists()
    states = {one.backup_id: one.state for one in catalogue.read(world.pg)}
    assert states == {
        first.backup_id: "pruned",
        second.backup_id: "complete",
        third.backup_id: "complete",
    }
    assert world.drill(NOW + 60 * DAY).proven_at is not None
