"""What an import did, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from events.accept import Event


@dataclass
class Summary:
    """What was done with a file. Times are epoch milliseconds; `resumed_at` is a line number."""

    file: str
    lines: int = 0
    events: int = 0
    metrics: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter)
    first_ms: int | None = None
    last_ms: int | None = None
    resumed_at: int = 0
    seconds: float = 0.0

    def count(self, events: Sequence[Event]) -> None:
        """Take events in."""
        self.events += len(events)
        self.metrics += sum(1 for one in events if one.metric_name)
        times = [one.timestamp_ms for one in events]
        if times:
            self.first_ms = min(times if self.first_ms is None else [self.first_ms, *times])
            self.last_ms = max(times if self.last_ms is None else [self.last_ms, *times])


def as_json_object(summary: Summary) -> dict[str, Any]:
    """For programs."""
    return {
        "file": summary.file,
        "lines": summary.lines,
        "events": summary.events,
        "metrics": summary.metrics,
        "deadLetters": dict(summary.dead_letters),
        "first": _iso(summary.first_ms),
        "last": _iso(summary.last_ms),
        "resumedAt": summary.resumed_at,
        "seconds": round(summary.seconds, 3),
    }


def as_text(summary: Summary, dry_run: bool) -> str:
    """For people: a line, and one more for each thing that is not usual."""
    verb = "would import" if dry_run else "imported"
    rate = round(summary.lines / summary.seconds) if summary.seconds else 0
    lines = [
        f"{summary.file}: {verb} {summary.events} events ({summary.metrics} metrics) of "
        f"{summary.lines} lines in {summary.seconds:.1f} s, {rate} lines/s"
    ]
    if summary.resumed_at:
        lines.append(f"  went on behind line {summary.resumed_at}")
    if summary.first_ms is not None:
        lines.append(f"  from {_iso(summary.first_ms)} to {_iso(summary.last_ms)}")
    for reason, count in sorted(summary.dead_letters.items()):
        lines.append(f"  dead letters: {reason} {count}")
    return "\n".join(lines)


def _iso(ms: int | None) -> str | None:
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
