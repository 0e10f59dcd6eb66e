"""`analytics psql`: the platform database in psql."""

from __future__ import annotations

import os

import typer

from cli.refusal import Refused
from cli.servers import read_settings
from pipelines.postgres_programs import connection_variables, find_program


def psql(context: typer.Context) -> None:
    """Run psql with the settings' connection.

    All arguments are passed on, for example -c SQL.
    """
    url = read_settings().database_url.get_secret_value()
    try:
        program = find_program("psql")
        variables = connection_variables(url)
    except (FileNotFoundError, ValueError) as error:
        raise Refused(str(error)) from None
    os.execve(program, [program, *context.args], os.environ | variables)  # noqa: S606 (no shell wanted)
