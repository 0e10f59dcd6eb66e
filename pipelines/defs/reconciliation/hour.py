"""One hour of the stream compared with the warehouse, in pieces of bounded size."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from clickhouse_connect.driver.client import Client

from events.accept import Event, Rejection, accept
from events.event_id import IMPORT_SEQ, EventId
from pipelines.defs.reconciliation.comparison import Piece, Row, Tally, compare
from pipelines.event_stream import EventStream, StreamState
from sql import statement

# Messages that are compared at once: some 60 MB of decisions and rows, and one query a piece.
PIECE_MESSAGES = 50_000
HOUR_MS: Final = 3_600_000
# Rows left over are looked up in the stream one by one; beyond this they are taken at their word.
LOOKED_UP_ROWS = 1000


@dataclass(frozen=True)
class Hour:
    """An hour [begin_ms, end_ms) of the stream's time, epoch milliseconds."""

    begin_ms: int

    @property
    def end_ms(self) -> int:
        return self.begin_ms + HOUR_MS

    @classmethod
    def of(cls, begin: datetime) -> Hour:
        """The hour that begins then."""
        return cls(int(begin.timestamp()) * 1000)


@dataclass
class Comparison:
    """What an hour's comparison found; `unchecked` says why nothing was compared, if so."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    unchecked: str | None = None

    @property
    def total(self) -> Tally:
        """The figures of all companies together."""
        total = Tally()
        for tally in self.tallies.values():
            total.add(tally)
        return total

    @property
    def state(self) -> str:
        """`not_checkable`, `unbalanced`, `pending` or `balanced`."""
        if self.unchecked is not None:
            return "not_checkable"
        total = self.total
        if not total.balanced:
            return "unbalanced"
        return "pending" if total.pending else "balanced"


def compare_hour(stream: EventStream, ch: Client, hour: Hour) -> Comparison:
    """Compare every message of the hour. An hour that the stream has lost is not checkable."""
    state = stream.state()
    if gone := what_is_gone(stream, state, hour):
        return Comparison(unchecked=gone)
    tallies: dict[str, Tally] = defaultdict(Tally)
    for piece in pieces_of(stream, ch, hour, state):
        for company_id, tally in piece.tallies.items():
            tallies[company_id].add(tally)
        for row in _without_message(stream, piece.unexplained):
            tallies[row.company_id].count_unexpected(row)
    # While it was read, its beginning may have left the stream: then nothing was compared with it.
    if gone := what_is_gone(stream, stream.state(), hour):
        return Comparison(unchecked=gone)
    return Comparison(dict(tallies))


def what_is_gone(stream: EventStream, state: StreamState, hour: Hour) -> str | None:
    """Why the hour can't be compared any more; None when the stream has all of it."""
    if hour.end_ms <= state.created_ms:
        return "not checkable any more: the stream was made after this hour"
    if state.first_seq == 1:
        return None
    # Messages left the stream. Those of this hour only if it began before the replay window did,
    # unless the oldest one that is kept is older than the hour.
    if state.max_age_ms and hour.begin_ms >= time.time() * 1000 - state.max_age_ms:
        return None
    first = stream.first_sequence_since(hour.begin_ms)
    if first is not None and first > state.first_seq:
        return None
    return "not checkable any more: the hour has left the stream's replay window"


def pieces_of(stream: EventStream, ch: Client, hour: Hour, state: StreamState) -> Iterator[Piece]:
    """Comparisons of the hour's messages, in order; together they cover every sequence once."""
    # Before any row is read: what is acknowledged by now is committed by now.
    floor = stream.ack_floor()
    first = stream.first_sequence_since(hour.begin_ms) or state.next_seq
    after = stream.first_sequence_since(hour.end_ms) or state.next_seq
    window = (max(hour.begin_ms, state.created_ms), hour.end_ms - 1)
    from_seq = state.first_seq
    decided: list[Event | Rejection] = []
    for messages in stream.read(first, after - 1):
        decided += [accept(one.subject, one.seq, one.ms, one.data) for one in messages]
        if len(decided) >= PIECE_MESSAGES:
            last = decided[-1].id.seq
            yield _compare(ch, decided, (from_seq, last), window, floor)
            from_seq, decided = last + 1, []
    # Of an hour that is going on, what comes in meanwhile is left for later.
    closed = hour.end_ms <= time.time() * 1000
    yield _compare(
        ch, decided, (from_seq, IMPORT_SEQ - 1 if closed else state.next_seq - 1), window, floor
    )


def _compare(
    ch: Client,
    decided: Sequence[Event | Rejection],
    seqs: tuple[int, int],
    window: tuple[int, int],
    floor: int,
) -> Piece:
    # A clock that stepped may have put a message's time outside of the hour that it is read with.
    times = [one.id.ms for one in decided] or [window[0]]
    parameters = {
        "from_ms": min(window[0], *times),
        "upto_ms": max(window[1], *times),
        "from_seq": seqs[0],
        "upto_seq": seqs[1],
    }
    found = ch.query(statement("clickhouse/select_hour_events"), parameters=parameters)
    letters = ch.query(statement("clickhouse/select_hour_dead_letters"), parameters=parameters)
    ids = (EventId.parse(str(row[0])) for row in letters.result_rows)
    return compare(
        decided,
        (Row(*row) for row in found.result_rows),
        frozenset(one for one in ids if one is not None),
        floor,
    )


def _without_message(stream: EventStream, left_over: Sequence[Row]) -> Iterator[Row]:
    """Rows that the stream does not explain either: it is asked for each sequence itself."""
    for number, row in enumerate(left_over):
        if number < LOOKED_UP_ROWS:
            messages = next(stream.read(row.seq, row.seq))
            if any(row.event_id == str(EventId(m.subject, m.seq, m.ms)) for m in messages):
                continue  # of another hour by its place, of this one by its time
        yield row
