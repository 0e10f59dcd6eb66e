"""What one day's partition of `events` holds and takes."""

from dataclasses import dataclass
from datetime import date

from clickhouse_connect.driver.client import Client

from config.names import TABLE_EVENTS
from sql import statement


@dataclass(frozen=True)
class EventsDay:
    """One day of `events` by the stream's time (UTC).

    `stored_rows` counts deliveries on disk, `events` each event once; the difference is merged away
    by ClickHouse later. `first_seq` and `last_seq` are stream sequences, None for an empty day.
    """

    stored_rows: int
    events: int
    companies: int
    bytes_on_disk: int
    parts: int
    first_seq: int | None
    last_seq: int | None


def read_events_day(ch: Client, day: date) -> EventsDay:
    """Count the day; zeros for a day without data."""
    [(events, companies, first_seq, last_seq)] = ch.query(
        statement("clickhouse/select_events_day"), parameters={"day": day}
    ).result_rows
    [(stored_rows, bytes_on_disk, parts)] = ch.query(
        statement("clickhouse/select_events_day_parts"),
        parameters={"table": TABLE_EVENTS, "day": day.isoformat()},
    ).result_rows
    return EventsDay(
        stored_rows=stored_rows,
        events=events,
        companies=companies,
        bytes_on_disk=bytes_on_disk,
        parts=parts,
        first_seq=first_seq if events else None,
        last_seq=last_seq if events else None,
    )
