"""The warehouse's tables that age, and what their partitions hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

from clickhouse_connect.driver.client import Client

from config.names import (
    TABLE_DEAD_LETTER_DECISIONS,
    TABLE_DEAD_LETTERS,
    TABLE_EVENTS,
    TABLE_METRICS,
    TABLE_RECONCILIATIONS,
)
from sql import statement

Grain = Literal["day", "month"]
SYSTEM_DATABASE: Final = "system"
# Rows that name no company, and all rows of a table that knows none.
NO_COMPANY: Final = ""


@dataclass(frozen=True)
class AgingTable:
    """A table whose rows are kept for a time: which policy names it, by which column they age.

    `grain` is how finely: rows go by whole days, or by whole months where a month's partition is
    too large to be written anew every day. `company_column` is None where no company is known.
    """

    dataset: str
    name: str
    time_column: str
    company_column: str | None
    grain: Grain
    system: bool = False


TABLES: Final = (
    AgingTable("events", TABLE_EVENTS, "received_at", "company_id", "day"),
    AgingTable("aggregates", TABLE_METRICS, "period_start", "company_id", "month"),
    AgingTable("aggregates", TABLE_RECONCILIATIONS, "hour", "company_id", "month"),
    AgingTable("dead_letters", TABLE_DEAD_LETTERS, "received_at", "company_id", "day"),
    AgingTable("dead_letters", TABLE_DEAD_LETTER_DECISIONS, "received_at", None, "day"),
    AgingTable("query_log", "query_log", "event_date", None, "day", system=True),
    AgingTable("query_log", "part_log", "event_date", None, "day", system=True),
)
BY_NAME: Final[Mapping[str, AgingTable]] = {table.name: table for table in TABLES}


@dataclass(frozen=True)
class Partition:
    """One partition: days [begin, end), rows as they lie on the disk, bytes, active parts.

    `begin` is None for a partition whose id names neither a day nor a month: nothing is done to it.
    """

    table: AgingTable
    database: str
    partition_id: str
    begin: date | None
    end: date | None
    rows: int
    bytes: int
    parts: int


def days_of(partition_id: str) -> tuple[date, date] | None:
    """Days [begin, end) of `YYYYMMDD` or `YYYYMM`, or None."""
    if not (partition_id.isascii() and partition_id.isdigit()):
        return None
    try:
        if len(partition_id) == 8:
            begin = date.fromisoformat(partition_id)
            return begin, begin + timedelta(days=1)
        if len(partition_id) == 6:
            begin = date(int(partition_id[:4]), int(partition_id[4:]), 1)
            return begin, (begin + timedelta(days=32)).replace(day=1)
    except (ValueError, OverflowError):
        pass
    return None


def read_partitions(ch: Client) -> list[Partition]:
    """All partitions of the tables that age, in order."""
    found = ch.query(
        statement("clickhouse/select_partitions"),
        parameters={
            "tables": [table.name for table in TABLES if not table.system],
            "system_tables": [table.name for table in TABLES if table.system],
        },
    ).result_rows
    partitions = []
    for database, name, partition_id, rows, size, parts in found:
        table = BY_NAME[str(name)]
        begin, end = days_of(str(partition_id)) or (None, None)
        partitions.append(
            Partition(table, str(database), str(partition_id), begin, end, rows, size, parts)
        )
    return partitions


def read_rows(ch: Client, partition: Partition) -> dict[tuple[str, date], int]:
    """Rows by company and day as a reader sees them; reads two columns of the partition."""
    table = partition.table
    parameters: dict[str, object] = {
        "table": table.name,
        "partition": partition.partition_id,
        "time_column": table.time_column,
    }
    if table.company_column is None:
        name = "clickhouse/select_partition_days"
        parameters["database"] = partition.database
    else:
        name = "clickhouse/select_partition_rows"
        parameters["company_column"] = table.company_column
    found: Sequence[Sequence[object]] = ch.query(statement(name), parameters=parameters).result_rows
    return {(str(company), _as_date(day)): int(str(rows)) for company, day, rows in found}


def _as_date(day: object) -> date:
    assert isinstance(day, date)  # noqa: S101 - for the type: the statement says toDate
    return day
