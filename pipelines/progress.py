"""Where a long work stands, for whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable


class Progress:
    """Takes what a long work says of itself; this one keeps silent.

    A work says `begin` once, then each `step`, and `advance` within a step that can be measured.
    """

    # Whether somebody looks: only then is a server asked again and again how far it is.
    watched = False

    def begin(self, steps: int) -> None:
        """A work of so many steps begins."""

    def step(self, what: str, total: int = 0, unit: str = "") -> None:
        """The step before is over and `what` begins: `total` of `unit`, 0 when that isn't known."""

    def advance(self, amount: int) -> None:
        """So much more of the step's total is done."""

    def note(self, text: str) -> None:
        """Something that was found on the way."""


class LoggedProgress(Progress):
    """Steps and notes as lines of a log."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def step(self, what: str, total: int = 0, unit: str = "") -> None:
        self._say(f"{what}: {total} {unit}" if total and unit else what)

    def note(self, text: str) -> None:
        self._say(text)


SILENT = Progress()
