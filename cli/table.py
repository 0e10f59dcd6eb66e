"""Rows as a table for people: aligned columns under their names, numbers to the right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

GAP = "  "


def text_table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The table's lines. None is shown as `-`; only the last column may be of any width."""
    values = [list(row) for row in rows]
    cells = [[_text(value) for value in row] for row in values]
    widths = [
        max(len(line[column]) for line in ([*map(str, names)], *cells))
        for column in range(len(names))
    ]
    right = [
        any(row[column] is not None for row in values)
        and all(isinstance(row[column], int | float | None) for row in values)
        for column in range(len(names))
    ]
    lines = []
    for line in ([*map(str, names)], *cells):
        shown = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ]
        lines.append(GAP.join(shown).rstrip())
    return "\n".join(lines)


def minutes_of(moment: str) -> str:
    """A time of the API's, to the minute in the local zone; as it is when it is none."""
    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return moment


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        # Four significant digits tell any two cohorts apart that a table is read for.
        return f"{value:.4g}"
    return " ".join(str(value).split())
