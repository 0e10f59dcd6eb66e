"""What a restore must not take back, and what is done again when it is over.

A restore brings an earlier day back. Some things have to outlive it: the catalogue of backups
itself, and what was erased since that day must not come back.
"""

from __future__ import annotations

import psycopg
from clickhouse_connect.driver.client import Client
from nats.errors import Error as NatsError

from config import Settings
from events.stream_range import StreamUnavailableError
from pipelines.defs.backups import catalogue, platform
from pipelines.defs.retention import ledger, stores
from pipelines.defs.retention.erasure import reapply_erasures
from pipelines.event_stream import EventStreams
from pipelines.stream_rows import write_whole_stream

NATS_AWAY = (
    "NATS did not answer: erasures were applied from Postgres alone, and events of the last hours "
    "were not written again. When it is back: analytics erase reapply, and repair_missing_events "
    "for the hours since the backup"
)


def carry_over(old: psycopg.Connection, restored: psycopg.Connection) -> None:
    """Copy what outlives a restore from the database in use into the restored one, before they are
    exchanged. Both are in autocommit mode and at the schema of this version.
    """
    for backup in catalogue.read(old):
        catalogue.write(restored, backup)
    for entry in ledger.read(old):
        ledger.write(restored, None, entry)


def bring_up_to_date(
    in_use: psycopg.Connection, ch: Client, settings: Settings, *, events_replaced: bool
) -> list[str]:
    """Do again to the databases in use what the backup has not seen, the end of a restore in place.

    First the ledger of erasures is applied; entries that Postgres has lost come from their copy in
    NATS. Then every message that the stream still has is written again (what was erased has left
    it): what came in after the backup went into tables that are gone, also while the restore ran. A
    row that is there is replaced by its key. Returns what an operator must know: nothing when all
    went well.

    Args:
        in_use: the platform database, with what `carry_over` brought into it.
        events_replaced: whether tables of the warehouse were replaced, not only added to.
    """
    try:
        with EventStreams(lambda: settings).open() as stream:
            done = reapply_erasures(in_use, ch, stream)
            if events_replaced:
                write_whole_stream(stream, ch)
    except (NatsError, OSError, TimeoutError, StreamUnavailableError):
        reapply_erasures(in_use, ch, None)
        return [NATS_AWAY]
    return [
        f"erasure {one.entry.erasure_id} has left something; see: analytics erase verify"
        for one in done
        if not one.verified
    ]


def erase_beside(
    in_use: psycopg.Connection,
    ch: Client,
    url: str,
    warehouse_database: str | None,
    platform_database: str | None,
) -> None:
    """Apply the ledger to databases that were restored beside those in use.

    Args:
        in_use: the platform database in use, whose ledger counts.
        url: of the platform database in use.
        warehouse_database: restored in ClickHouse, whole or in part.
        platform_database: restored in Postgres, on the same server.
    """
    entries = ledger.read(in_use)
    if platform_database is not None:
        beside = platform.with_database(url, platform_database)
        with psycopg.connect(beside, autocommit=True) as restored:
            for entry in entries:
                stores.erase_platform(restored, entry.subject, entry.erased_at)
    if warehouse_database is not None:
        before = ch.database
        ch.database = warehouse_database
        try:
            for entry in entries:
                stores.erase_warehouse(ch, entry.subject, entry.erased_at)
        finally:
            ch.database = before
