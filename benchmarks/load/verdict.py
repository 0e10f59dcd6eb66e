"""The thresholds of the guide against what was measured, as a table."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchmarks.load.k6 import Figures
from benchmarks.load.users import Outcome

LEAST_SUCCESS = 0.95
MOST_P95_MS = 500.0
# Fewer than so many.
ERRORS = 10


@dataclass(frozen=True)
class Line:
    """One row: what, the limit, what was seen, and whether that is good (None: only told)."""

    what: str
    limit: str
    seen: str
    good: bool | None


def lines(outcome: Outcome, k6: Figures, most_p95_ms: float = MOST_P95_MS) -> list[Line]:
    """Every threshold, then what else is worth knowing."""
    tally = outcome.tally
    # An attempt that still waits when the run ends is neither; what it waits for is missing.
    ended = tally.opened + len(tally.errors)
    success = tally.opened / ended if ended else 0.0
    cuts = statistics.quantiles(tally.latencies or [float("inf")] * 2, n=100)
    p50, p95, p99 = (cuts[n - 1] * 1000 for n in (50, 95, 99))
    errors, lost = len(tally.errors), tally.gaps + outcome.missing + tally.resets
    return [
        Line("our streams that went live", "≥ 95 %", f"{success:.2%}", success >= LEAST_SUCCESS),
        Line("our connection errors", f"< {ERRORS}", str(errors), errors < ERRORS),
        Line("publish → receive, p95", f"< {most_p95_ms:g} ms", f"{p95:.1f} ms", p95 < most_p95_ms),
        Line("missing, doubled or reset", "0", str(lost), lost == 0),
        Line("k6's streams that went live", "≥ 95 %", f"{k6.succeeded:.2%}", k6.succeeded >= 0.95),
        Line("k6's connection errors", f"< {ERRORS}", str(k6.errors), k6.errors < ERRORS),
        Line("publish → receive, p50 and p99", "", f"{p50:.1f} and {p99:.1f} ms", None),
        Line("k6's time to open, p95", "", f"{k6.open_p95_ms:.1f} ms", None),
        Line("streams, ours and k6's", "", f"{tally.opened:,} and {k6.streams:,}", None),
        Line("of ours, resumed by last id", "", f"{tally.resumed:,}", None),
        Line(
            "events published, received",
            "",
            f"{outcome.published:,} and {tally.events + k6.events:,}",
            None,
        ),
    ]


def table(rows: list[Line]) -> str:
    """Rows as aligned text."""
    words = {True: "met", False: "MISSED", None: ""}
    cells = [(row.what, row.limit, row.seen, words[row.good]) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    return "\n".join(
        f"  {what:<{widths[0]}}  {limit:<{widths[1]}}  {seen:>{widths[2]}}  {word}".rstrip()
        for what, limit, seen, word in cells
    )
