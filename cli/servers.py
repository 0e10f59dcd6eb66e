"""Settings of a command and connections to the servers they name, refused in plain words."""

from __future__ import annotations

import os
import re
from pathlib import Path

import clickhouse_connect
import nats
import psycopg
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError
from nats.aio.client import Client as Nats
from nats.errors import Error as NatsError

from cli.refusal import Refused, one_line, without_credentials
from config import Settings, load_settings
from config.addresses import with_embedded_ports
from config.settings import read_variables

CONNECT_TIMEOUT_SECONDS = 5
START_IT = "start it with `make up`"


def read_settings() -> Settings:
    """Settings from the environment and `.env`; addresses that are unset are the embedded ones.

    Raises:
        SettingsError: one line for each variable that can't be used.
    """
    values = read_variables(os.environ, Path(".env"))
    return load_settings(with_embedded_ports(values), env_file=None)


def connect_postgres(settings: Settings) -> psycopg.Connection:
    """A connection in autocommit mode to the platform database.

    Raises:
        Refused: it does not answer, or refuses us.
    """
    url = settings.database_url.get_secret_value()
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS)
    except psycopg.OperationalError as error:
        shown = without_credentials(url)
        _, answered, words = str(error).partition("FATAL:")
        if answered:
            raise Refused(f"Postgres at {shown} refused: {words}") from None
        raise Refused(
            f"Postgres does not answer at {shown}; {START_IT} or set DATABASE_URL"
        ) from None


async def connect_nats(
    url: str, *, name: str | None = None, seconds: int = CONNECT_TIMEOUT_SECONDS
) -> Nats:
    """A connection to NATS that is not tried again once it is lost.

    Raises:
        Refused: no answer.
    """
    try:
        return await nats.connect(
            url.split(","),
            name=name,
            allow_reconnect=False,
            # Without these two the first connection is tried for two minutes.
            max_reconnect_attempts=1,
            reconnect_time_wait=0.1,
            connect_timeout=seconds,
            error_cb=_ignore,
        )
    except (NatsError, OSError, TimeoutError) as error:
        raise Refused(
            f"NATS does not answer at {without_credentials(url)}; {START_IT} or set NATS_URL "
            f"({one_line(error) or type(error).__name__})"
        ) from None


async def _ignore(_: Exception) -> None:
    """The error is raised as well; nats-py would log it with a traceback."""


def connect_clickhouse(settings: Settings, database: str) -> Client:
    """A client of the warehouse server, in `database`.

    Raises:
        Refused: it does not answer, or refuses us.
    """
    try:
        return clickhouse_connect.get_client(
            host=settings.clickhouse_host,
            port=settings.clickhouse_port,
            username=settings.clickhouse_user,
            password=settings.clickhouse_password.get_secret_value(),
            secure=settings.clickhouse_secure,
            database=database,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            # A session would make the server refuse a second query at the same time.
            autogenerate_session_id=False,
        )
    except ClickHouseError as error:
        raise refuse_clickhouse(settings, error) from None


def refuse_clickhouse(settings: Settings, error: ClickHouseError) -> Refused:
    """The refusal for an error of the client: no answer, or the server's own words."""
    if isinstance(error, DatabaseError) and error.code is not None:
        # The client puts its own sentence before the server's, and after a syntax error the server
        # lists every keyword that it knows before the error's name.
        text = re.sub(r" Expected one of: .*(?= \([A-Z_]+\))", "", one_line(error))
        text = re.sub(r" \(for url [^)]*\)$", "", text)
        return Refused(f"ClickHouse refused: {text[max(0, text.find('Code: ')) :]}")
    scheme = "https" if settings.clickhouse_secure else "http"
    address = f"{scheme}://{settings.clickhouse_host}:{settings.clickhouse_port}"
    return Refused(
        f"ClickHouse does not answer at {address}; {START_IT} or set CLICKHOUSE_HOST and _PORT"
    )
