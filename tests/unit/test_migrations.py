"""The rules of numbered migrations that need no server."""

from __future__ import annotations

from pathlib import Path

import pytest

from sql import SQL_FOLDER
from sql.migrations import Migration, MigrationError, pending, read_migrations, split_statements


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text(f"-- {name}\nSELECT 1;\n")
    return folder


@pytest.mark.parametrize("database", ["postgres", "clickhouse"])
def test_our_own_migrations_are_numbered_without_a_gap(database: str) -> None:
    found = read_migrations(SQL_FOLDER / database / "migrations")
    assert [migration.version for migration in found] == list(range(1, len(found) + 1))
    assert found


def test_they_come_in_order_of_their_numbers(tmp_path: Path) -> None:
    write(
        tmp_path,
        "0010_j.sql",
        *(f"000{n}_{c}.sql" for n, c in zip("918273645", "iahbgcfde", strict=True)),
    )
    found = read_migrations(tmp_path)
    assert "".join(migration.name[-1] for migration in found) == "abcdefghij"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["0001_a.sql", "0003_c.sql"], "without gap"),
        (["0002_b.sql"], "without gap"),
        (["0001_a.sql", "0001_b.sql"], "repetition"),
        (["1_a.sql"], "1_a.sql: name it"),
        (["0001-a.sql"], "0001-a.sql: name it"),
        (["0001_Upper.sql"], "0001_Upper.sql: name it"),
    ],
)
def test_a_gap_a_repetition_or_a_bad_name_is_refused(
    tmp_path: Path, names: list[str], said: str
) -> None:
    write(tmp_path, *names)
    with pytest.raises(MigrationError, match=said):
        read_migrations(tmp_path)


KNOWN = (Migration(1, "0001_a", "SELECT 1"), Migration(2, "0002_b", "SELECT 2"))


def test_what_is_applied_is_not_pending() -> None:
    assert pending(KNOWN, {}) == KNOWN
    assert pending(KNOWN, {"0001_a": KNOWN[0].checksum}) == KNOWN[1:]
    assert pending(KNOWN, {one.name: one.checksum for one in KNOWN}) == ()


def test_an_edited_migration_is_refused_by_name() -> None:
    with pytest.raises(MigrationError, match=r"^0001_a: edited after it was applied"):
        pending(KNOWN, {"0001_a": "another checksum"})


def test_a_migration_of_a_newer_version_is_refused_by_name() -> None:
    applied = {one.name: one.checksum for one in KNOWN} | {"0003_c": "x"}
    with pytest.raises(MigrationError, match=r"^0003_c: applied to this database but unknown here"):
        pending(KNOWN, applied)


def test_a_checksum_follows_every_character() -> None:
    assert Migration(1, "a", "SELECT 1").checksum != Migration(1, "a", "SELECT 1 ").checksum


def test_a_script_is_split_at_semicolons_that_end_a_line() -> None:
    text = "-- first; really;\nCREATE TABLE a (x String DEFAULT ';');\n\nSELECT 1;\n-- end;\n"
    assert split_statements(text) == ["CREATE TABLE a (x String DEFAULT ';')", "SELECT 1"]
