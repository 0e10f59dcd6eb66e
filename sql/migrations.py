"""Numbered migrations of Postgres and ClickHouse: applied in order, once, and never edited.

A migration is a file `sql/<database>/migrations/NNNN_name.sql`. What was applied is recorded with
its checksum in the table `schema_migrations` of the same database. A session-level advisory lock in
Postgres covers both databases, because ClickHouse has no lock of its own: two processes may
migrate at once, the second finds nothing left to do.

A Postgres migration runs in one transaction. ClickHouse has none, so each of its statements must
be safe to repeat (`IF NOT EXISTS`, `CREATE OR REPLACE`): a migration cut in the middle runs again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from clickhouse_connect.driver.client import Client

from sql import SQL_FOLDER, statement

# Any constant serves, as long as nothing else in the database takes the same advisory lock.
MIGRATION_LOCK_KEY = 0x696D7061
FILE_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")


class MigrationError(RuntimeError):
    """A migration was edited after it was applied, is unknown to this version, or failed."""


@dataclass(frozen=True)
class Migration:
    """One file. `version` is its number, `checksum` the SHA-256 of its text in hex."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """All migrations of a folder in order.

    Raises:
        MigrationError: a file name is malformed, or a number stands twice or is missing.
    """
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = FILE_NAME.match(path.name)
        if not match:
            raise MigrationError(f"{path.name}: name it NNNN_words_in_lower_case.sql")
        found.append(Migration(int(match[1]), path.stem, path.read_text(encoding="utf-8")))
    if [m.version for m in found] != list(range(1, len(found) + 1)):
        raise MigrationError(f"{folder.name}: numbers must be 1, 2, 3 … without gap or repetition")
    return tuple(found)


def pending(known: Sequence[Migration], applied: dict[str, str]) -> tuple[Migration, ...]:
    """The migrations of `known` that are not in `applied` (name → checksum).

    Raises:
        MigrationError: an applied migration was edited or is not known here.
    """
    by_name = {m.name: m for m in known}
    for name, checksum in sorted(applied.items()):
        if name not in by_name:
            raise MigrationError(
                f"{name}: applied to this database but unknown here; run the version that has it"
            )
        if by_name[name].checksum != checksum:
            raise MigrationError(
                f"{name}: edited after it was applied; restore the file and write a new migration"
            )
    return tuple(m for m in known if m.name not in applied)


class PostgresMigrations:
    """Migrations of the platform database. `connection` must be in autocommit mode."""

    label = "postgres"

    def __init__(
        self, connection: psycopg.Connection, folder: Path = SQL_FOLDER / "postgres" / "migrations"
    ) -> None:
        self._connection = connection
        self._folder = folder

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock that covers both databases; waits for another process to finish."""
        key = {"key": MIGRATION_LOCK_KEY}
        self._connection.execute("SELECT pg_advisory_lock(%(key)s)", key)
        try:
            yield
        finally:
            self._connection.execute("SELECT pg_advisory_unlock(%(key)s)", key)

    def pending(self) -> tuple[Migration, ...]:
        """What is not applied yet; reads only."""
        exists = self._connection.execute(
            "SELECT to_regclass('public.schema_migrations') IS NOT NULL"
        ).fetchone()
        applied: dict[str, str] = {}
        if exists and exists[0]:
            rows = self._connection.execute(statement("postgres/select_migrations")).fetchall()
            applied = {str(name): str(checksum) for name, checksum in rows}
        return pending(read_migrations(self._folder), applied)

    def apply(self) -> tuple[Migration, ...]:
        """Apply what is pending; call inside `lock()`. Returns what was applied."""
        self._connection.execute(statement("postgres/create_schema_migrations"))
        todo = self.pending()
        for migration in todo:
            try:
                with self._connection.transaction():
                    self._connection.execute(migration.text)
                    self._connection.execute(
                        statement("postgres/insert_migration"),
                        {"name": migration.name, "checksum": migration.checksum},
                    )
            except psycopg.Error as error:
                raise MigrationError(f"{migration.name}: {error}") from error
        return todo


class ClickHouseMigrations:
    """Migrations of the warehouse. `client` is connected to the server, not yet to `database`."""

    label = "clickhouse"

    def __init__(
        self,
        client: Client,
        database: str,
        folder: Path = SQL_FOLDER / "clickhouse" / "migrations",
    ) -> None:
        self._client = client
        self._database = database
        self._folder = folder

    def pending(self) -> tuple[Migration, ...]:
        """What is not applied yet; reads only."""
        exists = self._client.query(
            statement("clickhouse/select_table_exists"),
            parameters={"database": self._database, "table": "schema_migrations"},
        )
        applied: dict[str, str] = {}
        if exists.result_rows[0][0]:
            rows = self._client.query(
                statement("clickhouse/select_migrations"), settings={"database": self._database}
            ).result_rows
            applied = {str(name): str(checksum) for name, checksum in rows}
        return pending(read_migrations(self._folder), applied)

    def apply(self) -> tuple[Migration, ...]:
        """Apply what is pending; call inside `PostgresMigrations.lock()`."""
        self._client.command(
            statement("clickhouse/create_database"), parameters={"database": self._database}
        )
        inside = {"database": self._database}
        self._client.command(statement("clickhouse/create_schema_migrations"), settings=inside)
        todo = self.pending()
        for migration in todo:
            try:
                for one in split_statements(migration.text):
                    self._client.command(one, settings=inside)
                self._client.command(
                    statement("clickhouse/insert_migration"),
                    parameters={"name": migration.name, "checksum": migration.checksum},
                    settings=inside,
                )
            except Exception as error:
                raise MigrationError(f"{migration.name}: {error}") from error
        return todo


def split_statements(text: str) -> list[str]:
    """Statements of a ClickHouse script: each ends with a semicolon at the end of a line.

    ClickHouse takes one statement a request. Our scripts hold no semicolon at a line's end inside
    a string or a comment.
    """
    uncommented = re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
    return [
        part.strip() for part in re.split(r";\s*$", uncommented, flags=re.MULTILINE) if part.strip()
    ]
