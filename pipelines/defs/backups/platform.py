"""The platform database: dumped in one snapshot, restored beside, exchanged by its name."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from pipelines.defs.backups.record import HASH_MODULUS, Dump, Figures
from pipelines.postgres_programs import connection_variables, find_program
from sql import statement

MAINTENANCE_DATABASE = "postgres"
READ_BYTES = 1 << 20
# What a restored table may differ in: the text of a value must not follow a session's settings.
PLAIN_TEXT = "-c timezone=UTC -c datestyle=ISO,YMD -c extra_float_digits=1 -c bytea_output=hex"


class PlatformError(RuntimeError):
    """A dump or a restore of Postgres failed; one line."""


def dump(url: str, to: Path) -> tuple[Dump, str]:
    """Dump the database in pg_dump's custom format; returns it with the server's version.

    The figures are read in the very snapshot that pg_dump reads.

    Raises:
        PlatformError: pg_dump failed.
        FileNotFoundError: there is no pg_dump.
    """
    with psycopg.connect(url, autocommit=True, options=PLAIN_TEXT) as pg, pg.transaction():
        pg.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        [(snapshot, version)] = pg.execute(statement("postgres/export_snapshot")).fetchall()
        _run(
            url,
            "pg_dump",
            # An extension of one database in the server can't be restored beside itself.
            *("--format=custom", "--no-owner", "--exclude-extension=pg_cron"),
            *(f"--snapshot={snapshot}", f"--file={to}"),
        )
        tables = read_tables(pg)
    return Dump(to.stat().st_size, sha256(to), tables), version


def restore(url: str, database: str, dump_file: Path) -> None:
    """Make `database` anew and restore the file into it.

    Raises:
        PlatformError: pg_restore failed; the database is left for the caller to drop.
    """
    with connect_maintenance(url) as pg:
        pg.execute(_named("drop_database", database=database))
        pg.execute(_named("create_database", database=database))
    _run(
        with_database(url, database),
        "pg_restore",
        *("--no-owner", "--exit-on-error", f"--dbname={database}", str(dump_file)),
    )


def read_database(url: str) -> Mapping[str, Figures]:
    """Rows and fingerprint of each table."""
    with psycopg.connect(url, autocommit=True, options=PLAIN_TEXT) as pg:
        return read_tables(pg)


def read_tables(pg: psycopg.Connection) -> Mapping[str, Figures]:
    """Rows and fingerprint of each table, as the connection sees them."""
    figures = {}
    for (table,) in pg.execute(statement("postgres/select_platform_tables")).fetchall():
        [(rows, total)] = pg.execute(_named("select_table_figures", table=table)).fetchall()
        figures[table] = Figures(rows, str(int(total) % HASH_MODULUS))
    return figures


def exists(url: str, database: str) -> bool:
    """Whether the server of `url` has the database."""
    with connect_maintenance(url) as pg:
        [(found,)] = pg.execute(
            statement("postgres/select_database_exists"), {"database": database}
        ).fetchall()
    return bool(found)


def drop(url: str, database: str) -> None:
    """Drop a database of ours; nothing happens when there is none."""
    with connect_maintenance(url) as pg:
        pg.execute(_named("drop_database", database=database))


def exchange(url: str, database: str, scratch: str, replaced: str) -> None:
    """Give `scratch` the name `database`; what had it is called `replaced` afterwards.

    Sessions of both are ended: clients connect again and meet the restored one.
    """
    with connect_maintenance(url) as pg:
        renames = [(scratch, database)]
        if exists(url, database):
            renames.insert(0, (database, replaced))
        done: list[tuple[str, str]] = []
        try:
            for old, new in renames:
                # Pools connect again within milliseconds, and a name can't be changed in use.
                pg.execute(_named("allow_connections", database=old, allowed=False))
                pg.execute(statement("postgres/terminate_sessions"), {"database": old})
                pg.execute(_named("rename_database", database=old, new_name=new))
                done.append((old, new))
        except psycopg.Error:
            for old, new in reversed(done):
                pg.execute(_named("rename_database", database=new, new_name=old))
            raise
        finally:
            names = {new if (old, new) in done else old for old, new in renames}
            for name in names:
                pg.execute(_named("allow_connections", database=name, allowed=True))


def connect_maintenance(url: str) -> psycopg.Connection:
    """The server's own database, from which others are made, renamed and dropped."""
    return psycopg.connect(with_database(url, MAINTENANCE_DATABASE), autocommit=True)


def with_database(url: str, database: str) -> str:
    """The same server, another database."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{database}"))


def database_of(url: str) -> str:
    """The database that a URL names."""
    return connection_variables(url).get("PGDATABASE", "")


def sha256(path: Path) -> str:
    """The checksum of a file in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        reader: Callable[[], bytes] = lambda: file.read(READ_BYTES)  # noqa: E731
        for block in iter(reader, b""):
            digest.update(block)
    return digest.hexdigest()


def _run(url: str, name: str, *arguments: str) -> None:
    done = subprocess.run(
        [find_program(name), *arguments],
        env=os.environ | connection_variables(url),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = " ".join((done.stderr or "no message").split())
        raise PlatformError(f"{name}: {said[:1000]}")


def _named(name: str, **words: str | bool) -> sql.Composed:
    """A statement with identifiers in its places; values are bound and never stand here."""
    return sql.SQL(statement(f"postgres/{name}")).format(
        **{
            place: sql.Literal(word) if isinstance(word, bool) else sql.Identifier(word)
            for place, word in words.items()
        }
    )
