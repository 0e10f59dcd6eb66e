"""What a line of a file is: an event of the past, or a dead letter with its place in the file."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from config.names import SSE_EVENT_NAMES
from events.accept import Event, Reason, Rejection
from events.history import accept_history
from events.rows import DeadLetter

# Of a line that is no object there is no telling what it was meant to be.
UNREADABLE_SUBJECT = "metrics.unknown"
UNKNOWN_SUBJECT = "unknown"

_SUBJECT = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)+")
_NO_RAW = msgspec.Raw(b"")


class _Head(msgspec.Struct):
    subject: msgspec.Raw = _NO_RAW
    type: msgspec.Raw = _NO_RAW


_head = msgspec.json.Decoder(_Head)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True)
class LineReader:
    """Decides on the lines of one file.

    `subject` is for lines that name none; `company` for events that name none. `file_ms` is the
    file's own time, which dead letters carry.
    """

    file_name: str
    subject: str | None
    company: str | None
    now_ms: int
    file_ms: int

    def read(self, number: int, line: bytes) -> Event | DeadLetter | None:
        """The event of a line, or why it is none; None for an empty line."""
        raw = line.strip()
        if not raw:
            return None
        subject = self._subject(raw)
        decided = accept_history(subject, raw, self.now_ms, self.file_ms)
        if (
            self.company is not None
            and isinstance(decided, Rejection)
            and decided.reason is Reason.NO_COMPANY
        ):
            raw = _with_company(raw, self.company)
            decided = accept_history(subject, raw, self.now_ms, self.file_ms)
        if isinstance(decided, Event):
            return decided
        hint = "; give --subject" if subject == UNKNOWN_SUBJECT else ""
        detail = f"{self.file_name} line {number}: {decided.detail}{hint}"
        return DeadLetter(msgspec.structs.replace(decided, detail=detail), raw)

    def _subject(self, raw: bytes) -> str:
        """The line's member `subject`, else a `type` that is a subject of ours, else the option."""
        try:
            head = _head.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self.subject or UNREADABLE_SUBJECT
        named = _text(head.subject)
        if named is not None and _SUBJECT.fullmatch(named):
            return named
        kind = _text(head.type)
        if kind is not None and is_event_subject(kind):
            return kind
        return self.subject or UNKNOWN_SUBJECT


def is_event_subject(text: str) -> bool:
    """True for a subject that events are published on."""
    return text.partition(".")[0] in SSE_EVENT_NAMES and _SUBJECT.fullmatch(text) is not None


def _text(raw: msgspec.Raw) -> str | None:
    content = bytes(raw)
    return msgspec.json.decode(content, type=str) if content.startswith(b'"') else None


def _with_company(raw: bytes, company: str) -> bytes:
    """The same JSON with its company; every other member stays as it was written."""
    members = _members.decode(raw)
    value = msgspec.Raw(_encoder.encode(company))
    data = bytes(members.get("data", _NO_RAW))
    if data.startswith(b"{"):  # an envelope
        inner = {"companyId": value} | _drop_null(_members.decode(data))
        members["data"] = msgspec.Raw(_encoder.encode(inner))
    else:
        members = {"companyId": value} | _drop_null(members)
    return _encoder.encode(members)


def _drop_null(members: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """Without a companyId that names nothing: it would win over ours."""
    return {name: value for name, value in members.items() if name != "companyId"}
