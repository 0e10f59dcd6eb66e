"""The engine in this process, and one connection to it for each request.

A chDB connection carries its own settings and current database, and opening and closing one costs
0.06 ms. So every request gets a fresh one: nothing can leak into the next request, a long query
blocks nobody, and no restoring of settings is needed.

Two things the config file can't say because the embedded engine ignores them there: the default
profile (set on each connection instead) and the time zone (the process's own, see __main__.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any

from chdb import _chdb

from embedded.clickhouse.errors import UNKNOWN_SETTING, refuse
from embedded.clickhouse.session import Session, Totals
from embedded.clickhouse.statement import quote_identifier, quote_string

# The stub of chdb's C module names neither.
_connect: Callable[[str], Any] = _chdb.connect  # type: ignore[attr-defined]
_set_signal_handlers: Callable[[int], None] = _chdb.set_signal_handlers_enabled  # type: ignore[attr-defined]

# The engine chooses query ids itself. To find a request's query again (to cancel it), each request
# carries a number in a setting that only a real HTTP server reads.
MARK_SETTING = "http_headers_progress_interval_ms"

# A block is what one insert commits at once. 64 MiB keeps a batch of 200,000 events in one block
# and the memory of an insert below 0.6 GB, whatever the size of its body.
INSERT_BLOCK_BYTES = 64 << 20

_UNLOGGED = {"log_queries": "0"}  # for queries of this server's own


class Engine:
    """The open data folder. Only one may exist in a process, and one process per folder."""

    def __init__(self, folder: Path, memory_mb: int, backups: Path | None = None) -> None:
        """Open or create `folder`; `memory_mb` (MiB) bounds all queries together.

        `backups` is the folder of the disk of that name, `folder/backups` by default.
        """
        backups = backups or folder / "backups"
        # Closed to other users: what is in it is a copy of everything.
        backups.mkdir(mode=0o700, parents=True, exist_ok=True)
        template = Template(Path(__file__).with_name("config.xml").read_text())
        self._spool = folder / "spool"
        # What a killed process left of inserts that nobody was told had succeeded.
        shutil.rmtree(self._spool, ignore_errors=True)
        self._spool.mkdir()
        config = folder / "config.xml"
        config.write_text(
            template.substitute(memory_bytes=memory_mb << 20, backups=backups.resolve())
        )
        self._path = str((folder / "store").resolve())
        self._defaults = {
            "final": "1",
            "log_queries": "1",
            # chDB's own default is 1, which would make a statement of any stray word.
            "implicit_select": "0",
            # One query may take three quarters, so that others can answer beside it.
            "max_memory_usage": str((memory_mb << 20) * 3 // 4),
            "max_insert_block_size_bytes": str(INSERT_BLOCK_BYTES),
            "min_insert_block_size_bytes": str(INSERT_BLOCK_BYTES),
        }
        # The engine would take over SIGSEGV and others to print its own report: leave them.
        _set_signal_handlers(0)
        # This connection stays open: the engine shuts down with its last one.
        self._anchor = _connect(f"{self._path}?config-file={config.resolve()}")
        with self.session(_UNLOGGED) as session:
            self.version = session.run("SELECT version()", "TSVRaw", {}).decode().strip()

    @contextmanager
    def session(
        self,
        settings: Mapping[str, str],
        *,
        database: str | None = None,
        mark: int | None = None,
    ) -> Iterator[Session]:
        """A connection with these settings and current database.

        Raises ServerError for an unknown setting (115) or database (81).
        """
        # The preparing statements are not the client's, so they stay out of the query log.
        connection = _connect(f"{self._path}?log_queries=0")
        try:
            session = Session(connection, self._spool)
            if database:
                session.run(f"USE {quote_identifier(database)}", "TSV", {})
            merged = {**self._defaults, **settings}
            if mark is not None:
                merged[MARK_SETTING] = str(mark)
            # One statement, because after one with `readonly` no other setting can be changed.
            session.run(_set_statement(merged), "TSV", {})
            session.totals = Totals()
            yield session
        finally:
            connection.close()

    def query_ids(self, mark: int) -> list[str]:
        """The engine's ids of the running queries of a marked request."""
        with self.session(_UNLOGGED) as session:
            found = session.run(
                f"SELECT query_id FROM system.processes WHERE {_marked(mark)}",  # noqa: S608
                "TSVRaw",
                {},
            )
        return found.decode().split()

    def kill(self, mark: int) -> None:
        """Ask the engine to stop the queries of a marked request; returns at once."""
        with self.session(_UNLOGGED) as session:
            session.run(f"KILL QUERY WHERE {_marked(mark)} ASYNC", "TSV", {})

    def close(self) -> None:
        """Flush the logs and shut the engine down, if no session is open."""
        self._anchor.close()


def _marked(mark: int) -> str:
    return f"Settings['{MARK_SETTING}'] = '{mark}'"


def _set_statement(settings: Mapping[str, str]) -> str:
    """A SET statement. Values are quoted always: the engine turns '1' into a number itself."""
    for name in settings:
        # The name stands in the statement as it is, so it must not be able to end it.
        if not name.isascii() or not name.isidentifier():
            raise refuse(UNKNOWN_SETTING, "UNKNOWN_SETTING", f"Unknown setting '{name}'.")
    return "SET " + ", ".join(f"{name} = {quote_string(settings[name])}" for name in settings)
