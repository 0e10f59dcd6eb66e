"""What is missing of an hour, read from the stream again and written as the sink would have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clickhouse_connect.driver.client import Client

from pipelines.defs.reconciliation.hour import Hour, pieces_of, what_is_gone
from pipelines.event_stream import EventStream
from pipelines.stream_rows import write_messages


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
                write_messages(stream, ch, messages)
                repaired += len(messages)
    return repaired


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
