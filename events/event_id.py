"""Ids of events: one string names one event everywhere, and says where a reader stopped.

`metrics.calculated-12345-1699999999999` is subject, stream sequence, and the stream's own time in
epoch milliseconds. A subject may hold hyphens, so ids are read from the right. The time tells a
recreated stream, whose sequence starts anew, from the one before.
"""

from __future__ import annotations

import re
from typing import Self

import msgspec

# A resume point that is no event: everything up to this sequence has been seen.
POSITION = "position"

# Events of an import stand in no stream: their sequences are a hash of their content, in a range
# that no stream reaches, so that whatever counts sequences can leave them out.
IMPORT_SEQ = 2**62

_ID = re.compile(r"(?P<subject>[^\s\x00-\x1f]{1,255})-(?P<seq>\d{1,19})-(?P<ms>\d{1,14})")


class EventId(msgspec.Struct, frozen=True, gc=False):
    """Subject (or `position`), sequence in the stream, and epoch milliseconds."""

    subject: str
    seq: int
    ms: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The id that `text` spells, or None when it spells none."""
        match = _ID.fullmatch(text)
        if not match:
            return None
        return cls(match["subject"], int(match["seq"]), int(match["ms"]))

    @classmethod
    def position(cls, seq: int, ms: int) -> Self:
        """The resume point after everything up to `seq`."""
        return cls(POSITION, seq, ms)

    @property
    def is_position(self) -> bool:
        return self.subject == POSITION

    @property
    def is_import(self) -> bool:
        return self.seq >= IMPORT_SEQ

    def __str__(self) -> str:
        return f"{self.subject}-{self.seq}-{self.ms}"
