"""Partitions that should not be there, and parts that no query reads."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from clickhouse_connect.driver.client import Client

from events.accept import EARLIEST_PERIOD, LATEST_AHEAD_DAYS
from pipelines.defs.partitions.stock import Partition
from sql import statement

# A stream's clock may be a little ahead of ours; a period may lie as far ahead as `accept` lets it.
DAYS_AHEAD = 1
# Aggregates are named by their own period, everything else by the time at which it came in.
AHEAD = {"aggregates": LATEST_AHEAD_DAYS}


def find_strays(partitions: Iterable[Partition], today: date) -> list[str]:
    """One sentence a partition whose id is no date, or a date that no event can have."""
    strays = []
    for one in partitions:
        if one.begin is None:
            why = "its name is neither a day nor a month"
        elif one.begin < EARLIEST_PERIOD:
            why = f"before {EARLIEST_PERIOD}"
        elif one.begin > today + timedelta(days=AHEAD.get(one.table.dataset, DAYS_AHEAD)):
            why = "in the future"
        else:
            continue
        strays.append(f"{one.table.name} {one.partition_id}: {why}, {one.rows} rows")
    return strays


def find_detached(ch: Client) -> list[str]:
    """One sentence a detached part: it takes room and is in no answer."""
    found = ch.query(statement("clickhouse/select_detached_parts")).result_rows
    return [
        f"{table} {name}: detached{f' ({why})' if why else ''}, {size or 0} bytes"
        for table, name, why, size in found
    ]
