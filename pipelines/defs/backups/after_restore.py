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


def after_restore(pg: psycopg.Connection, ch: Client) -> None:
    """Do again what was done since the backup and has to hold: called at the end of every restore,
    with the connections to the databases that were restored into.
    """
