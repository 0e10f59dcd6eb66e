"""A window from ClickHouse into Postgres: the table `user_cohorts_postgres`.

It is for people: to compare memberships, or to copy them by hand. The sync does not use it.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from clickhouse_connect.driver.client import Client

from sql import statement

DEFAULT_PORT = 5432


def connect_postgres(client: Client, database: str, postgres_url: str) -> None:
    """Create the table in `database`, reading from `postgres_url` as ClickHouse reaches it."""
    parts = urlsplit(postgres_url)
    client.command(
        statement("clickhouse/create_user_cohorts_postgres"),
        parameters={
            "address": f"{parts.hostname or 'localhost'}:{parts.port or DEFAULT_PORT}",
            "database": parts.path.lstrip("/"),
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
        },
        settings={"database": database},
    )
