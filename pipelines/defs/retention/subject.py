"""Whom an erasure is about, and what names them in a message's bytes: pure.

An event names a user when the id stands in it as a whole JSON string, as `userId` or as any other
member: what a mentor's event says of their mentee goes with the mentee. Half of an id names nobody:
`u1` is not in `u10`.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import msgspec

from config.names import COMPANY_ID_PATTERN
from events.accept import MAX_USER_ID_CHARACTERS, accept
from events.stream_range import StoredMessage

Kind = Literal["user", "company"]
# Which company a message names is the same under every subject; this one asks for the least else.
ANY_SUBJECT = "journey.any"
_ESCAPE = re.compile(rb"\\u([0-9a-fA-F]{4})")


class SubjectError(ValueError):
    """An id that no user or company can have."""


@dataclass(frozen=True)
class Subject:
    """A company, or one of its users."""

    company_id: str
    user_id: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(COMPANY_ID_PATTERN, self.company_id):
            raise SubjectError(f"company id {self.company_id!r} is not 1-100 of [A-Za-z0-9_-]")
        if self.user_id is not None and not 0 < len(self.user_id) <= MAX_USER_ID_CHARACTERS:
            raise SubjectError(f"a user id has 1-{MAX_USER_ID_CHARACTERS} characters")

    @property
    def kind(self) -> Kind:
        return "company" if self.user_id is None else "user"

    @cached_property
    def user_uuid(self) -> str | None:
        """The user's id where the platform's tables may have it: they know UUIDs only."""
        try:
            return str(uuid.UUID(self.user_id)) if self.user_id else None
        except ValueError:
            return None

    @cached_property
    def needle(self) -> str:
        """The id as a JSON string, quotes included."""
        return msgspec.json.encode(self.user_id or self.company_id).decode()

    @cached_property
    def any_case(self) -> bool:
        """True for an id whose case means nothing; of all others `u1` and `U1` are two."""
        return self.user_uuid is not None

    def owns_event(self, message: StoredMessage, upto_ms: int) -> bool:
        """True for a message of the stream of events that goes with the subject."""
        return message.ms <= upto_ms and self._owns(message.subject, message)

    def owns_letter(self, message: StoredMessage, upto_ms: int) -> bool:
        """True for a message of the stream of dead letters that goes with the subject.

        Its body is the producer's bytes; its subject is the reason, so any may be decided on.
        """
        return message.ms <= upto_ms and self._owns(ANY_SUBJECT, message)

    def _owns(self, topic: str, message: StoredMessage) -> bool:
        # Most messages of a stream are about others; this look is cheap and never wrong about a no.
        if not names(message.data, self.needle, any_case=self.any_case):
            return False
        decided = accept(topic, message.seq, message.ms, message.data)
        if decided.company_id == self.company_id:
            return True
        # A message that names no company may be any company's.
        return decided.company_id is None


def names(raw: bytes, needle: str, *, any_case: bool) -> bool:
    """True when the JSON string `needle` stands in the bytes, escaped or not."""
    if b"\\u" in raw:
        raw = _ESCAPE.sub(_unescape, raw)
        needle = _ESCAPE.sub(_unescape, needle.encode()).decode()
    wanted = needle.encode()
    return wanted.lower() in raw.lower() if any_case else wanted in raw


def _unescape(match: re.Match[bytes]) -> bytes:
    return chr(int(match[1], 16)).encode(errors="replace")
