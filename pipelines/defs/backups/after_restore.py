"""What a restore must not take back, and what is done again when it is over.

A restore brings an earlier day back. Some things have to outlive it: the catalogue of backups
itself, and what was erased since that day must not come back.
"""

from __future__ import annotations

import psycopg
from clickhouse_connect.driver.client import Client

from pipelines.defs.backups import catalogue


def carry_over(old: psycopg.Connection, restored: psycopg.Connection) -> None:
    """Copy what outlives a restore from the database in use into the restored one, before they are
    exchanged. Both are in autocommit mode and at the schema of this version.
    """
    for backup in catalogue.read(old):
        catalogue.write(restored, backup)


def after_restore(
    in_use: psycopg.Connection,
    ch: Client,
    warehouse_database: str | None,
    platform_database: str | None,
) -> None:
    """Do again what was done since the backup and has to hold: the end of every restore.

    Args:
        in_use: the platform database in use, which knows what was done; after a restore in place it
            is the restored one, with what `carry_over` brought into it.
        warehouse_database: the database of ClickHouse that was restored into, whole or in part.
        platform_database: the same in Postgres, on the server of `in_use`.
    """
