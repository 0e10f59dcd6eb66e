"""`analytics query`: SQL on the warehouse, as clickhouse-client would run it."""

from __future__ import annotations

import contextlib
import shutil
import sys
from typing import Annotated, BinaryIO, cast

import typer
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from cli.refusal import Refused
from cli.servers import connect_clickhouse, read_settings, refuse_clickhouse

FOR_PEOPLE = "PrettyCompactMonoBlock"
FOR_PROGRAMS = "TabSeparated"


def query(
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help="One statement; - reads it from standard input.")
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--format", "-F", help=f"Default: {FOR_PEOPLE} on a terminal, else {FOR_PROGRAMS}."
        ),
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="For names without one; default CLICKHOUSE_DATABASE.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Short for -F JSONEachRow.")] = False,
) -> None:
    """Run a statement on ClickHouse and print its result."""
    settings = read_settings()
    text = (sys.stdin.read() if sql == "-" else sql).strip().removesuffix(";")
    if not text:
        raise typer.BadParameter("the statement is empty")
    default = FOR_PEOPLE if sys.stdout.isatty() else FOR_PROGRAMS
    wanted = "JSONEachRow" if as_json else output or default
    client = connect_clickhouse(settings, database or settings.clickhouse_database)
    try:
        with contextlib.closing(client):
            # In a header, not appended: the statement may be an INSERT, or name its own FORMAT.
            named = {"X-ClickHouse-Format": wanted}
            # Declared wider, because the asynchronous client returns something else.
            result = cast(BinaryIO, client.raw_stream(text, transport_settings=named))
            with contextlib.closing(result):
                shutil.copyfileobj(result, sys.stdout.buffer)
    except ClickHouseError as error:
        raise refuse_clickhouse(settings, error) from None
    except HTTPError as error:
        raise Refused(f"the result broke off: {error}; what was printed is incomplete") from None
    sys.stdout.buffer.flush()
