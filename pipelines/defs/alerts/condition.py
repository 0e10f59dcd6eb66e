"""What a look at the system finds wrong: a condition, before anybody is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Severity(StrEnum):
    """How soon a person has to act: today, within the hour, now."""

    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Larger is worse."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class Condition:
    """Something that is wrong now.

    `key` is `<source>/<what>`, the same as long as it is the same trouble. `text` is one line: what
    is wrong and for how long. `see` is an anchor of docs/operations.md, which says what to do.
    A condition that often passes by itself has to last for `patience` before anybody is told.
    """

    key: str
    severity: Severity
    text: str
    see: str
    patience: timedelta = timedelta(0)


def span(seconds: float) -> str:
    """A duration in the words of a message: `40 s`, `12 min`, `5 h`, `3 days`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"
