"""Subjects of NATS with their wildcards: `*` is one word, `>` one or more at the end."""

from __future__ import annotations

import re

from config.names import SSE_EVENT_NAMES

_WORD = r"(?:\*|[^\s.*>]+)"
_SUBJECT = re.compile(rf"{_WORD}(?:\.{_WORD})*(?:\.>)?")


def covers(wide: str, narrow: str) -> bool:
    """True when every subject that `narrow` takes is one that `wide` takes too."""
    mine, theirs = wide.split("."), narrow.split(".")
    for place, word in enumerate(mine):
        if word == ">":
            return len(theirs) > place
        if place >= len(theirs) or theirs[place] == ">":
            return False
        if word not in {"*", theirs[place]}:
            return False
    return len(mine) == len(theirs)


def check_event_subject(subject: str) -> None:
    """Raises ValueError for what is no subject, or one whose events nobody has a name for."""
    if not _SUBJECT.fullmatch(subject):
        raise ValueError(f"'{subject}' is not a subject of NATS, e.g. metrics.>")
    if subject.partition(".")[0] not in SSE_EVENT_NAMES:
        raise ValueError(
            f"'{subject}': events are known for {', '.join(SSE_EVENT_NAMES)}; its first word is to "
            "be one of them"
        )
