"""Dead letters as the sidecar speaks of them: what one is, which are meant, what was decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from events.event_id import EventId

# DateTime64(3) ends with the year 2299; wider than any stream or clock of ours.
EARLIEST_MS: Final = 0
LATEST_MS: Final = 10_000_000_000_000
LATEST_SEQ: Final = 2**64 - 1

OPEN: Final = "open"
REPLAYED: Final = "replayed"
DISCARDED: Final = "discarded"


class Position(NamedTuple):
    """A letter's place in the box: stream time in epoch ms, and sequence."""

    ms: int
    seq: int


@dataclass(frozen=True)
class Letter:
    """A dead letter with its state; times are epoch milliseconds."""

    id: str
    subject: str
    seq: int
    received_ms: int
    company_id: str | None
    reason: str
    detail: str
    payload_bytes: int
    payload_sha256: str
    dlq_seq: int
    state: str
    decided_ms: int
    decided_by: str
    why: str


@dataclass(frozen=True)
class Filter:
    """Which letters; empty means any. Both ends of a range are included."""

    reason: str = ""
    company_id: str = ""
    state: str = OPEN
    since_ms: int = EARLIEST_MS
    until_ms: int = LATEST_MS
    from_seq: int = 0
    to_seq: int = LATEST_SEQ


@dataclass(frozen=True)
class Selection:
    """Open letters to decide about: by ids, else by reason, else all that came until a time."""

    ids: tuple[EventId, ...] = ()
    reason: str = ""
    until_ms: int = LATEST_MS


class OpenLetter(NamedTuple):
    """What a decision needs of a letter."""

    id: EventId
    payload_bytes: int
    payload_sha256: str
    dlq_seq: int


@dataclass
class Decisions:
    """Decisions that are written together."""

    state: str
    by: str
    why: str = ""
    letters: list[EventId] = field(default_factory=list)
