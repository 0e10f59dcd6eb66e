"""The result as one picture: CPU a delivery of each server, a group of bars a scenario."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.streaming.results import Result, deliveries, middle, servers_of
from benchmarks.streaming.scenarios import SCENARIOS

COLOURS = {
    "paced": "#0b6e4f",
    "unpaced": "#2a9d8f",
    "portable": "#8ab17d",
    "nchan": "#e9a23b",
    "c": "#6c757d",
    "naive": "#c1443c",
}
WIDTH, BAR, GAP, LEFT, SCALE = 860, 15, 30, 110, 560
# A bar past this many microseconds is cut off, so that the others stay readable.
LONGEST_US = 20.0


def svg(results: Sequence[Result]) -> str:
    """Horizontal bars, the figure behind each."""
    parts: list[str] = []
    y = 34
    for scenario in deliveries(results):
        parts.append(_text(10, y, SCENARIOS[scenario].title, weight="bold"))
        y += 9
        for server in servers_of(results, scenario):
            cpu_us = middle(results, scenario, server, "cpu_us")
            if math.isnan(cpu_us):
                continue
            length = SCALE * min(cpu_us, LONGEST_US) / LONGEST_US
            p99 = middle(results, scenario, server, "p99_ms")
            parts.append(
                f'<rect x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR - 3}" '
                f'fill="{COLOURS[server]}"/>'
            )
            parts.append(_text(LEFT - 8, y + 10, server, anchor="end"))
            note = f"{cpu_us:.2f} µs, p99 {p99:.1f} ms"
            parts.append(_text(LEFT + round(length) + 6, y + 10, note))
            y += BAR
        y += GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" '
        'font-family="sans-serif" font-size="11">'
        f'<rect width="{WIDTH}" height="{y}" fill="white"/>'
    )
    title = _text(10, 14, "Server CPU a delivery, microseconds (shorter is better)")
    return "\n".join([head, title, *parts, "</svg>", ""])


def write(results: Sequence[Result], file: Path) -> None:
    """Write the picture."""
    file.write_text(svg(results), encoding="utf-8")


def _text(x: int, y: int, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
    )
