"""What is missing of an hour, read from the stream again and written as the sink would have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clickhouse_connect.driver.client import Client

from config.names import TABLE_DEAD_LETTERS, TABLE_EVENTS, TABLE_METRICS
from events import rows
from events.accept import Event, Rejection, accept
from events.rows import INSERT_SETTINGS, DeadLetter
from events.stream_range import StoredMessage
from pipelines.defs.reconciliation.hour import Hour, pieces_of, what_is_gone
from pipelines.event_stream import EventStream


def repair_hour(stream: EventStream, ch: Client, hour: Hour) -> int:
    """Read exactly what is missing from the stream again and write it; returns how many.

    The rows are those that the sink would have written, by the same encoding and key.
    """
    state = stream.state()
    if what_is_gone(stream, state, hour):
        return 0
    repaired = 0
    for piece in pieces_of(stream, ch, hour, state):
        for first, last in _runs(piece.missing):
            for messages in stream.read(first, last):
                _store(stream, ch, messages)
                repaired += len(messages)
    return repaired


def _store(stream: EventStream, ch: Client, messages: Sequence[StoredMessage]) -> None:
    decided = [(accept(one.subject, one.seq, one.ms, one.data), one.data) for one in messages]
    letters = [DeadLetter(one, raw) for one, raw in decided if isinstance(one, Rejection)]
    stored = [one for one, _ in decided if isinstance(one, Event)]
    blocks = {
        TABLE_EVENTS: rows.encode_events(stored),
        TABLE_METRICS: rows.encode_metrics(stored),
    }
    if letters:
        blocks[TABLE_DEAD_LETTERS] = rows.encode_dead_letters(letters, stream.put_aside(letters))
    for table, block in blocks.items():
        if block:
            ch.raw_insert(table, insert_block=block, fmt="JSONEachRow", settings=INSERT_SETTINGS)


def _runs(seqs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Neighbouring sequences as (first, last)."""
    begin = end = None
    for seq in seqs:
        if end is not None and begin is not None and seq == end + 1:
            end = seq
            continue
        if begin is not None and end is not None:
            yield begin, end
        begin = end = seq
    if begin is not None and end is not None:
        yield begin, end
