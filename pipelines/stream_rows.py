"""Messages of the stream written to the warehouse as the sink would have written them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from clickhouse_connect.driver.client import Client

from config.names import EVENTS_STREAM, TABLE_DEAD_LETTERS, TABLE_EVENTS, TABLE_METRICS
from events import rows
from events.accept import Event, Rejection, accept
from events.rows import INSERT_SETTINGS, DeadLetter
from events.stream_range import StoredMessage
from pipelines.event_stream import EventStream
from sql import statement

# What is inserted at once: parts cost more than rows, and payloads may be long.
BLOCK_MESSAGES: Final = 50_000
BLOCK_BYTES: Final = 32 << 20


def write_messages(stream: EventStream, ch: Client, messages: Sequence[StoredMessage]) -> None:
    """Write the rows of these messages, by the sink's encoding and keys, so that rows that are
    there already are replaced. A dead letter that the table has is left alone: writing it would put
    it into the stream of dead letters once more.
    """
    if not messages:
        return
    decided = [(accept(one.subject, one.seq, one.ms, one.data), one.data) for one in messages]
    letters = [DeadLetter(one, raw) for one, raw in decided if isinstance(one, Rejection)]
    stored = [one for one, _ in decided if isinstance(one, Event)]
    blocks = {
        TABLE_EVENTS: rows.encode_events(stored),
        TABLE_METRICS: rows.encode_metrics(stored),
    }
    if letters := _without_row(ch, letters):
        blocks[TABLE_DEAD_LETTERS] = rows.encode_dead_letters(letters, stream.put_aside(letters))
    for table, block in blocks.items():
        if block:
            ch.raw_insert(table, insert_block=block, fmt="JSONEachRow", settings=INSERT_SETTINGS)


def write_whole_stream(stream: EventStream, ch: Client) -> None:
    """Write every message that is in the stream by now; without a stream there is none."""
    block: list[StoredMessage] = []
    size = 0
    for messages in stream.scan(EVENTS_STREAM):
        block += messages
        size += sum(len(one.data) for one in messages)
        if len(block) >= BLOCK_MESSAGES or size >= BLOCK_BYTES:
            write_messages(stream, ch, block)
            block, size = [], 0
    write_messages(stream, ch, block)


def _without_row(ch: Client, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
    if not letters:
        return []
    ids = [one.rejection.id for one in letters]
    found = ch.query(
        statement("clickhouse/select_hour_dead_letters"),
        parameters={
            "from_ms": min(one.ms for one in ids),
            "upto_ms": max(one.ms for one in ids),
            "from_seq": min(one.seq for one in ids),
            "upto_seq": max(one.seq for one in ids),
        },
    )
    known = {str(row[0]) for row in found.result_rows}
    return [one for one in letters if str(one.rejection.id) not in known]
