"""Medians, ratios within a round, and the tables that print them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.streaming.scenarios import SCENARIOS, Delivery, Figures

# Compared with in the same round, so that a machine's bad minute weighs on both.
REFERENCES = ("nchan", "c")

# Heading, figure and format of the columns of each kind of scenario.
COLUMNS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "Delivery": (
        ("deliveries/s", "deliveries_per_second", ",.0f"),
        ("core", "server_load", ".0%"),
        ("client's", "client_load", ".0%"),
        ("CPU µs", "cpu_us", ".2f"),
        ("/ nchan", "cpu_us/nchan", ".2f"),
        ("/ C", "cpu_us/c", ".2f"),
        ("p50 ms", "p50_ms", ".1f"),
        ("p99 ms", "p99_ms", ".1f"),
        ("p99.9 ms", "p999_ms", ".1f"),
        ("broker µs", "broker_cpu_us", ".2f"),
        ("missing", "missing", ".0f"),
        ("gaps", "gaps", ".0f"),
    ),
    "Memory": (
        ("kB a connection", "kb_per_connection", ".2f"),
        ("opened in s", "open_seconds", ".2f"),
        ("errors", "errors", ".0f"),
    ),
    "Storm": (
        ("all live after s", "seconds", ".2f"),
        ("CPU s", "cpu_seconds", ".2f"),
        ("replayed", "replayed", ",.0f"),
        ("missing", "missing", ".0f"),
        ("gaps", "gaps", ".0f"),
        ("errors", "errors", ".0f"),
        ("memory MB", "memory_growth_mb", ".0f"),
    ),
    "Slow": (
        ("p99 ms alone", "p99_alone_ms", ".1f"),
        ("beside readers", "p99_beside_readers_ms", ".1f"),
        ("beside never-readers", "p99_ms", ".1f"),
        ("their p99.9 ms", "p999_ms", ".1f"),
        ("cut as slow", "cut", ".0f"),
        ("memory MB", "memory_growth_mb", ".0f"),
        ("missing", "missing", ".0f"),
        ("gaps", "gaps", ".0f"),
    ),
}


@dataclass(frozen=True)
class Result:
    """Figures of one server in one round of one scenario."""

    scenario: str
    server: str
    round: int
    figures: Figures


def middle(results: Sequence[Result], scenario: str, server: str, figure: str) -> float:
    """The median of a figure over the rounds; `name/other` is its ratio to another server's.

    Not a number where nothing was measured.
    """
    name, _, other = figure.partition("/")
    by_round = {
        (r.server, r.round): r.figures[name]
        for r in results
        if r.scenario == scenario and name in r.figures
    }
    values = []
    for (measured, number), value in by_round.items():
        if measured == server and not other:
            values.append(value)
        elif measured == server and by_round.get((other, number)):
            values.append(value / by_round[other, number])
    return median(values) if values else math.nan


def servers_of(results: Sequence[Result], scenario: str) -> list[str]:
    """Servers with results, in the order of their first round."""
    return list(dict.fromkeys(r.server for r in results if r.scenario == scenario))


def table(results: Sequence[Result], scenario: str) -> str:
    """A Markdown table of the medians."""
    columns = COLUMNS[type(SCENARIOS[scenario]).__name__]
    rows = [["server", *(heading for heading, _, _ in columns)]]
    for server in servers_of(results, scenario):
        row = [server]
        for _, figure, form in columns:
            value = middle(results, scenario, server, figure)
            row.append("-" if math.isnan(value) else format(value, form))
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def deliveries(results: Sequence[Result]) -> list[str]:
    """Names of the delivery scenarios that have results."""
    names = dict.fromkeys(r.scenario for r in results)
    return [name for name in names if isinstance(SCENARIOS[name], Delivery)]
