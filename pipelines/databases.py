"""Connections to Postgres and ClickHouse for everything that Dagster runs.

Settings are read when a run, a check or a sensor's tick starts: the code server loads the
definitions without a database, and a changed setting counts from the next run on. What loading asks
for, the cadence of views that the UI shows, it can do without.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import clickhouse_connect
import psycopg
from clickhouse_connect.driver.client import Client

from config import Settings, load_settings

# A run that waits longer for a lock fails and says so; the longest sync on record took far less.
LOCK_TIMEOUT_SECONDS = 60
CLICKHOUSE_TIMEOUT_SECONDS = 300
CONNECT_TIMEOUT_SECONDS = 10


def environment_settings() -> Settings:
    """Settings of this process.

    Raises:
        config.SettingsError: naming each variable that can't be used.
    """
    return load_settings(os.environ)


# Typed as a resource of its own for what needs more than a connection.
SettingsReader = Callable[[], Settings]


def utc_now() -> datetime:
    """This moment, with its time zone."""
    return datetime.now(UTC)


class Databases:
    """Opens connections by settings that are read at each opening.

    `clock` is the moment by which runs decide what of their data is due or old; a simulation gives
    its own.
    """

    def __init__(
        self,
        read_settings: SettingsReader = environment_settings,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._read_settings = read_settings
        self.now = clock

    @property
    def settings(self) -> Settings:
        """The settings as they are now."""
        return self._read_settings()

    @property
    def warehouse_enabled(self) -> bool:
        """False when `CLICKHOUSE_ENABLED` switches the warehouse half off."""
        return self._read_settings().clickhouse_enabled

    @contextmanager
    def postgres(self) -> Iterator[psycopg.Connection]:
        """The platform database, in autocommit mode; transactions are begun where they matter."""
        with psycopg.connect(
            self._read_settings().database_url.get_secret_value(),
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            application_name="pipelines",
            options=f"-c lock_timeout={LOCK_TIMEOUT_SECONDS}s",
        ) as connection:
            yield connection

    @contextmanager
    def clickhouse(self, timeout_seconds: int = CLICKHOUSE_TIMEOUT_SECONDS) -> Iterator[Client]:
        """The warehouse; `timeout_seconds` is what one statement may take.

        Raises:
            RuntimeError: the warehouse half is switched off.
        """
        settings = self._read_settings()
        if not settings.clickhouse_enabled:
            raise RuntimeError("CLICKHOUSE_ENABLED is false: the warehouse half is switched off")
        client = clickhouse_connect.get_client(
            host=settings.clickhouse_host,
            port=settings.clickhouse_port,
            username=settings.clickhouse_user,
            password=settings.clickhouse_password.get_secret_value(),
            database=settings.clickhouse_database,
            secure=settings.clickhouse_secure,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            send_receive_timeout=timeout_seconds,
            # Keys to delete and companies to read are parameters of up to 100 KB, and addresses of
            # 64 KB are too long for some servers and proxies.
            form_encode_query_params=True,
            # A session would serialise two clients of one run; nothing here needs one.
            autogenerate_session_id=False,
            settings={
                # Each row once, not only after a merge.
                "final": 1,
                # A row that is inserted, deleted and inserted again is not a repeated insert.
                "insert_deduplicate": 0,
                # A watermark may move only past what is stored and what is gone.
                "async_insert": 0,
                "lightweight_deletes_sync": 2,
            },
        )
        try:
            yield client
        finally:
            client.close()
