"""Every store that holds something of a user or a company: count it there, and take it out.

A store is named `postgres.users`, `clickhouse.events`, `jetstream.ANALYTICS_EVENTS`. Counts leave
out stores with nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import psycopg
from clickhouse_connect.driver.client import Client

from config.names import DLQ_STREAM, EVENTS_STREAM
from pipelines.defs.retention.subject import Subject
from pipelines.event_stream import EventStream
from pipelines.progress import SILENT, Progress
from sql import statement

# For an erasure everything that is there is up to its moment, whatever its time says.
EVERYTHING = datetime(2200, 1, 1, tzinfo=UTC)
# Ids in one statement's parameter: some 50 bytes each.
IDS_A_STATEMENT = 5000
# In the order of erasing: what finds other rows goes after them.
WAREHOUSE_TABLES = ("metrics_timeseries", "events", "user_cohorts", "cohorts", "reconciliations")
# What is erased leaves no trace in the log of queries either.
UNLOGGED = {"log_queries": 0}


def count_platform(pg: psycopg.Connection, subject: Subject, upto: datetime) -> Counter[str]:
    """Rows of Postgres."""
    found = pg.execute(statement("postgres/count_subject_rows"), _platform(subject, upto))
    return _counted("postgres", found.fetchall())


def erase_platform(pg: psycopg.Connection, subject: Subject, upto: datetime) -> Counter[str]:
    """Delete them in one transaction."""
    found = pg.execute(statement("postgres/erase_subject"), _platform(subject, upto)).fetchall()
    return _counted("postgres", found)


def refresh_dashboards(pg: psycopg.Connection) -> None:
    """Bring the materialised views of Postgres up to date."""
    pg.execute(statement("postgres/refresh_materialized_views"))


def count_warehouse(ch: Client, subject: Subject, upto: datetime) -> Counter[str]:
    """Rows of ClickHouse."""
    found = ch.query(
        statement("clickhouse/count_subject_rows"),
        parameters=_warehouse(subject, upto),
        settings=UNLOGGED,
    ).result_rows
    return _counted("clickhouse", found)


def erase_warehouse(
    ch: Client, subject: Subject, upto: datetime, progress: Progress = SILENT
) -> Counter[str]:
    """Delete them by mutations, which write the parts anew; returns what was there before."""
    counts = count_warehouse(ch, subject, upto)
    parameters = _warehouse(subject, upto)
    letters = select_letters(ch, subject, upto)
    _erase_by_ids(ch, "erase_dead_letter_decisions", "dead_letter_ids", letters)
    if letters:
        ch.command(statement("clickhouse/erase_dead_letters"), parameters=parameters)
    if subject.user_id is not None:
        named = ch.query(
            statement("clickhouse/select_mentioning_metrics"),
            parameters=parameters,
            settings=UNLOGGED,
        ).result_rows
        company = {"company_id": subject.company_id}
        _erase_by_ids(
            ch, "erase_event_metrics", "event_ids", [str(row[0]) for row in named], company
        )
    for table in WAREHOUSE_TABLES:
        if counts.get(f"clickhouse.{table}"):
            ch.command(statement(f"clickhouse/erase_{table}"), parameters=parameters)
        progress.advance(1)
    return counts


def select_letters(ch: Client, subject: Subject, upto: datetime) -> list[str]:
    """Ids of the subject's dead letters."""
    found = ch.query(
        statement("clickhouse/select_subject_letters"),
        parameters=_warehouse(subject, upto),
        settings=UNLOGGED,
    ).result_rows
    return [str(row[0]) for row in found]


def find_messages(
    stream: EventStream | None,
    subjects: Sequence[tuple[Subject, datetime]],
    progress: Progress = SILENT,
) -> list[dict[str, list[int]]]:
    """Sequences of each subject's messages by stream; every stream is read once, to its end now."""
    found: list[dict[str, list[int]]] = [{EVENTS_STREAM: [], DLQ_STREAM: []} for _ in subjects]
    if stream is None or not subjects:
        return found
    progress.step(
        "looking through the streams",
        stream.size(EVENTS_STREAM) + stream.size(DLQ_STREAM),
        "messages",
    )
    limits = [
        (subject, int(upto.timestamp() * 1000), seqs)
        for (subject, upto), seqs in zip(subjects, found, strict=True)
    ]
    for messages in stream.scan(EVENTS_STREAM):
        for message in messages:
            for subject, upto_ms, seqs in limits:
                if subject.owns_event(message, upto_ms):
                    seqs[EVENTS_STREAM].append(message.seq)
        progress.advance(len(messages))
    for messages in stream.scan(DLQ_STREAM):
        for message in messages:
            for subject, upto_ms, seqs in limits:
                if subject.owns_letter(message, upto_ms):
                    seqs[DLQ_STREAM].append(message.seq)
        progress.advance(len(messages))
    return found


def message_counts(seqs: dict[str, list[int]]) -> Counter[str]:
    """Numbers of messages by store."""
    return _counted("jetstream", [(name, len(some)) for name, some in seqs.items()])


def _erase_by_ids(
    ch: Client,
    name: str,
    parameter: str,
    ids: Sequence[str],
    others: Mapping[str, object] | None = None,
) -> None:
    for begin in range(0, len(ids), IDS_A_STATEMENT):
        some = list(ids[begin : begin + IDS_A_STATEMENT])
        ch.command(statement(f"clickhouse/{name}"), parameters={parameter: some, **(others or {})})


def _platform(subject: Subject, upto: datetime) -> dict[str, object]:
    return {
        "company_id": subject.company_id,
        "user_id": subject.user_id,
        "user_uuid": subject.user_uuid,
        "upto": upto,
    }


def _warehouse(subject: Subject, upto: datetime) -> dict[str, object]:
    return {
        "company_id": subject.company_id,
        "user_id": subject.user_id,
        "needle": subject.needle,
        "any_case": subject.any_case,
        "upto": upto,
    }


def _counted(store: str, rows: Sequence[Sequence[object]]) -> Counter[str]:
    return Counter({f"{store}.{name}": int(str(n)) for name, n in rows if n})
