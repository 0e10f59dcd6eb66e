"""Events of the past, out of files: accepted as events of the stream are, with ids of their own.

They have no place in a stream and no time of arrival, so both come out of the event: the sequence
is a hash of subject and payload in the range from `IMPORT_SEQ` on, the time is the event's own. The
same line makes the same id in any file and at any time, so importing it twice replaces it.
"""

from __future__ import annotations

import hashlib

import msgspec

from events.accept import Event, Reason, Rejection, accept
from events.event_id import IMPORT_SEQ, EventId


def accept_history(subject: str, raw: bytes, now_ms: int, file_ms: int) -> Event | Rejection:
    """Decide on one event of the past.

    Args:
        subject: as it would have been published on.
        raw: its JSON.
        now_ms: bounds times that lie ahead; nothing else depends on it.
        file_ms: the time that a rejection's id carries, since it can't have the event's own.
    """
    decided = accept(subject, 0, now_ms, raw)
    if isinstance(decided, Rejection):
        rejected_id = EventId(subject, _sequence(subject, raw), file_ms)
        return msgspec.structs.replace(decided, id=rejected_id)
    if decided.timestamp_ms == now_ms and _has_no_timestamp(subject, raw, now_ms):
        return Rejection(
            EventId(subject, _sequence(subject, raw), file_ms),
            Reason.BAD_TIMESTAMP,
            "timestamp is missing; an event of the past must say when it was",
            decided.company_id,
        )
    own_id = EventId(subject, _sequence(subject, decided.payload), decided.timestamp_ms)
    return msgspec.structs.replace(decided, id=own_id)


def _has_no_timestamp(subject: str, raw: bytes, now_ms: int) -> bool:
    """`accept` falls back on the time of arrival, which a timestamp of its own would not follow."""
    later = accept(subject, 0, now_ms + 1, raw)
    return isinstance(later, Event) and later.timestamp_ms != now_ms


def _sequence(subject: str, content: bytes) -> int:
    digest = hashlib.sha256(subject.encode(errors="surrogateescape") + b"\0" + content).digest()
    return IMPORT_SEQ + (int.from_bytes(digest[:8], "big") >> 2)
