"""Messages of the stream against rows of the warehouse: pure, and in pieces of bounded size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from events.accept import Event, Rejection
from events.event_id import EventId

# What is named; everything is counted.
NAMED = 100


class Row(NamedTuple):
    """A row of `events` as a reader sees it."""

    seq: int
    ms: int
    company_id: str
    event_id: str


@dataclass
class Tally:
    """One company's figures. `missing_seqs` and `unexpected_ids` are the first 100.

    streamed: messages of the stream, accepted or not. stored: those with their row. dead_letters:
    those put aside instead. missing: acknowledged, yet neither. pending: neither, and the sink has
    not acknowledged them yet. duplicates: rows beyond an event's first. unexpected: rows that no
    message of the stream explains.
    """

    streamed: int = 0
    stored: int = 0
    dead_letters: int = 0
    missing: int = 0
    pending: int = 0
    duplicates: int = 0
    unexpected: int = 0
    missing_seqs: list[int] = field(default_factory=list)
    unexpected_ids: list[str] = field(default_factory=list)

    @property
    def balanced(self) -> bool:
        return not (self.missing or self.duplicates or self.unexpected)

    def add(self, other: Tally) -> None:
        """Take another piece's figures in."""
        for name in (
            *("streamed", "stored", "dead_letters", "missing", "pending"),
            *("duplicates", "unexpected"),
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.missing_seqs = sorted([*self.missing_seqs, *other.missing_seqs])[:NAMED]
        self.unexpected_ids = [*self.unexpected_ids, *other.unexpected_ids][:NAMED]

    def count_unexpected(self, row: Row) -> None:
        self.unexpected += 1
        if len(self.unexpected_ids) < NAMED:
            self.unexpected_ids.append(row.event_id)


class Piece(NamedTuple):
    """What one comparison found: figures by company, all missing sequences, rows left over."""

    tallies: dict[str, Tally]
    missing: list[int]
    unexplained: list[Row]


def compare(
    decided: Sequence[Event | Rejection],
    rows: Iterable[Row],
    letters: frozenset[EventId],
    ack_floor: int,
) -> Piece:
    """Compare messages in order of their sequence with the rows and letters of the same range.

    `unexplained` are rows of sequences that `decided` does not hold; whether the stream has them
    is for the caller to find out.
    """
    tallies: dict[str, Tally] = defaultdict(Tally)
    missing: list[int] = []
    rows_of: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        rows_of[row.seq].append(row)
    for one in decided:
        tally = tallies[one.company_id or ""]
        tally.streamed += 1
        own = 0
        for row in rows_of.pop(one.id.seq, ()):
            if isinstance(one, Event) and _is_row_of(row, one):
                own += 1
            else:
                tallies[row.company_id].count_unexpected(row)
        if own:
            tally.stored += 1
            tally.duplicates += own - 1
        elif one.id in letters:
            tally.dead_letters += 1
        elif one.id.seq > ack_floor:
            tally.pending += 1
        else:
            tally.missing += 1
            missing.append(one.id.seq)
            if len(tally.missing_seqs) < NAMED:
                tally.missing_seqs.append(one.id.seq)
    return Piece(dict(tallies), missing, [row for left in rows_of.values() for row in left])


def _is_row_of(row: Row, event: Event) -> bool:
    return (row.ms, row.company_id, row.event_id) == (
        event.id.ms,
        event.company_id,
        str(event.id),
    )
