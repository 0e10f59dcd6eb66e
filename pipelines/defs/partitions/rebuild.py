"""Rows of `metrics_timeseries` made again from the events of a day.

A row's key and value are functions of its event, so writing it again replaces it: a reader finds
each event once before, while and after it is rebuilt, and what was lost comes back. Rows whose
events are gone (events are kept for less time) are not touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from clickhouse_connect.driver.client import Client

from config.names import TABLE_METRICS
from events import rows
from events.accept import Event, accept
from events.event_id import EventId
from events.rows import INSERT_SETTINGS
from sql import statement

METRICS_PREFIX = "metrics."
BATCH_ROWS = 50_000


@dataclass(frozen=True)
class RebuiltDay:
    """Metric events read and rows written; `refused` events make no row by today's rules.

    `present` and `doubled` are of all rows afterwards whose events came in on that day: doubled
    ones stand under two keys, which only a change of what is accepted can do.
    """

    events: int
    written: int
    refused: int
    present: int
    doubled: int


def rebuild_metrics_day(ch: Client, day: date) -> RebuiltDay:
    """Write the day's rows again, a company at a time; repeating it changes nothing."""
    companies = ch.query(
        statement("clickhouse/select_day_companies"), parameters={"day": day}
    ).result_rows
    read = written = refused = 0
    for (company_id,) in companies:
        batch: list[Event] = []
        parameters = {"day": day, "company_id": company_id, "prefix": METRICS_PREFIX}
        query = statement("clickhouse/select_day_events")
        with ch.query_rows_stream(query, parameters=parameters) as stream:
            for event_id, payload in stream:
                read += 1
                event = _decide(str(event_id), str(payload))
                if event is None:
                    refused += 1
                    continue
                batch.append(event)
                if len(batch) >= BATCH_ROWS:
                    written += _write(ch, batch)
                    batch = []
        written += _write(ch, batch)
    [(present, doubled)] = ch.query(
        statement("clickhouse/count_day_metrics"), parameters={"day": day}
    ).result_rows
    return RebuiltDay(read, written, refused, present, doubled)


def _decide(event_id: str, payload: str) -> Event | None:
    own_id = EventId.parse(event_id)
    if own_id is None:
        return None
    decided = accept(own_id.subject, own_id.seq, own_id.ms, payload.encode())
    return decided if isinstance(decided, Event) else None


def _write(ch: Client, batch: list[Event]) -> int:
    block = rows.encode_metrics(batch)
    if block:
        ch.raw_insert(
            TABLE_METRICS, insert_block=block, fmt="JSONEachRow", settings=INSERT_SETTINGS
        )
    return block.count(b"\n")
