"""What a command left behind, and the type of the fixture that runs one.

Not in conftest.py: tests can't import from a module whose name stands several times in the tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Outcome:
    """The exit code of a command and what it wrote."""

    code: int
    out: str
    err: str


class Analytics(Protocol):
    """The fixture `analytics`."""

    def __call__(self, *arguments: str) -> Outcome: ...
