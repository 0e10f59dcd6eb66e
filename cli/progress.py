"""How a long work is shown on standard error while a person waits for it."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator

from pipelines.progress import SILENT, Progress

MIB = 1 << 20
BAR_WIDTHS = 8, 24
# Without a terminal, where a bar would be a heap of lines.
LINE_SECONDS = 10.0
TO_LINE_START, CLEAR_LINE = "\r", "\x1b[K"


@contextlib.contextmanager
def shown_progress(*, as_json: bool) -> Iterator[Progress]:
    """A bar a step on a terminal, lines elsewhere, nothing for programs that asked for JSON."""
    if as_json:
        yield SILENT
        return
    shown = ProgressBars() if sys.stderr.isatty() else ProgressLines()
    try:
        yield shown
        shown.finish_step()
    finally:
        shown.leave()


class ProgressLines(Progress):
    """A line when a step begins, and one every ten seconds that says how far it is."""

    watched = True

    def __init__(self) -> None:
        self._steps = self._number = 0
        self._what, self._unit = "", ""
        self._done = self._total = 0
        self._said_at = 0.0

    def begin(self, steps: int) -> None:
        self._steps, self._number = steps, 0

    def step(self, what: str, total: int = 0, unit: str = "") -> None:
        self.finish_step()
        self._number += 1
        self._what = f"{self._number}/{self._steps} {what}" if self._steps else what
        self._done, self._total, self._unit = 0, total, unit
        self.show_step()

    def advance(self, amount: int) -> None:
        # A server that says how far it is may say a little more than was expected.
        self._done = min(self._done + amount, self._total)
        self.show_advance()

    def note(self, text: str) -> None:
        _say(text)

    def show_step(self) -> None:
        """A step began."""
        _say(self._what)
        self._said_at = time.monotonic()

    def show_advance(self) -> None:
        """The step is further than before."""
        if self._total and time.monotonic() - self._said_at >= LINE_SECONDS:
            _say(f"{self._what}: {self.amounts(self._done)}")
            self._said_at = time.monotonic()

    def finish_step(self) -> None:
        """The step is over."""

    def leave(self) -> None:
        """Something else is written next."""

    def amounts(self, done: int) -> str:
        """So much of the step is done, e.g. `45%  12.1 of 26.8 MiB`."""
        share = f"{100 * done // self._total:3}%"
        if self._unit == "bytes":
            return f"{share}  {done / MIB:.1f} of {self._total / MIB:.1f} MiB"
        return f"{share}  {done} of {self._total} {self._unit}".rstrip()


class ProgressBars(ProgressLines):
    """A bar in the line of each step; a step that can't be measured has none."""

    def __init__(self) -> None:
        super().__init__()
        self._in_line = False

    def show_step(self) -> None:
        self._draw()

    def show_advance(self) -> None:
        self._draw()

    def note(self, text: str) -> None:
        _say(f"{TO_LINE_START}{text}{CLEAR_LINE}")
        if self._in_line:
            self._draw()

    def finish_step(self) -> None:
        if self._in_line:
            self._done = self._total
            self._draw()
        self.leave()

    def leave(self) -> None:
        if self._in_line:
            _say("")
        self._in_line = False

    def _draw(self) -> None:
        # A line that wraps could not be drawn over.
        columns = shutil.get_terminal_size().columns - 1
        line = self._what
        if self._total:
            least, most = BAR_WIDTHS
            # As wide from the beginning as there is room for at the end.
            room = columns - len(f"{line}  [] {self.amounts(self._total)}")
            width = min(most, max(least, room))
            full = width * self._done // self._total
            line += f"  [{'#' * full}{'-' * (width - full)}] {self.amounts(self._done)}"
        _say(f"{TO_LINE_START}{line[:columns]}{CLEAR_LINE}", end="")
        self._in_line = True


def _say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)
