"""The servers as the pipelines open them, for commands that do what a run of Dagster does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import nats.errors
import psycopg
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from cli.refusal import Refused
from cli.servers import START_IT, connect_postgres, read_settings, refuse_clickhouse
from config import Settings
from events.stream_range import StreamUnavailableError
from pipelines.databases import Databases
from pipelines.event_stream import EventStream, EventStreams

Servers = tuple[psycopg.Connection, Client, EventStream]


@contextmanager
def connected(settings: Settings | None = None) -> Iterator[Servers]:
    """Connections by these settings, else by those of the environment and `.env`.

    Raises:
        Refused: a server does not answer, or refuses us.
    """
    settings = settings or read_settings()
    if not settings.clickhouse_enabled:
        raise Refused("CLICKHOUSE_ENABLED is false: there is no warehouse")
    connect_postgres(settings).close()  # says in plain words what is wrong
    databases = Databases(lambda: settings)
    try:
        with (
            databases.postgres() as pg,
            databases.clickhouse() as ch,
            EventStreams(lambda: settings).open() as stream,
        ):
            yield pg, ch, stream
    except ClickHouseError as error:
        raise refuse_clickhouse(settings, error) from None
    except (nats.errors.Error, StreamUnavailableError, OSError) as error:
        raise _refuse_nats(error, settings) from None
    except psycopg.Error as error:
        raise Refused(f"Postgres refused: {error}") from None


def _refuse_nats(error: Exception, settings: Settings) -> Refused:
    return Refused(
        f"NATS does not answer ({error or type(error).__name__}); {START_IT} or set NATS_URL, "
        f"which names {len(settings.nats_url.get_secret_value().split(','))} server(s)"
    )
