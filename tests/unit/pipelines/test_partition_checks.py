"""Which partitions are named as crowded or stray, and what a check says of them."""

from __future__ import annotations

from datetime import date

import dagster as dg
import pytest

from pipelines.defs.partitions.checks import NAMED, judge
from pipelines.defs.partitions.parts import (
    MAX_MERGE_BYTES,
    MAX_PARTS,
    MERGE_ABOVE_PARTS,
    find_crowded,
    wants_merge,
)
from pipelines.defs.partitions.stock import BY_NAME, Partition, days_of
from pipelines.defs.partitions.strays import find_strays

TODAY = date(2026, 3, 17)
WARN = dg.AssetCheckSeverity.WARN


def partition(
    name: str, partition_id: str, *, parts: int = 1, size: int = 10, rows: int = 5
) -> Partition:
    begin, end = days_of(partition_id) or (None, None)
    return Partition(BY_NAME[name], "d", partition_id, begin, end, rows, size, parts)


@pytest.mark.parametrize(
    ("name", "partition_id", "parts", "said"),
    [
        ("events", "20260316", MERGE_ABOVE_PARTS, None),
        (
            *("events", "20260316", MERGE_ABOVE_PARTS + 1),
            "closed with 9 parts, the daily run merges it",
        ),
        # Of an open day the engine is still merging.
        ("events", "20260317", MERGE_ABOVE_PARTS + 1, None),
        ("events", "20260317", MAX_PARTS, None),
        ("events", "20260317", MAX_PARTS + 1, "301 parts, at most 300"),
        ("metrics_timeseries", "202603", MERGE_ABOVE_PARTS + 1, None),
        ("metrics_timeseries", "202602", MERGE_ABOVE_PARTS + 1, "closed with 9 parts"),
        # The engine's own logs are not merged by us.
        ("query_log", "20260316", MERGE_ABOVE_PARTS + 1, None),
    ],
)
def test_a_partition_is_crowded_when_nobody_is_going_to_merge_it(
    name: str, partition_id: str, parts: int, said: str | None
) -> None:
    one = partition(name, partition_id, parts=parts)
    named = find_crowded([one], TODAY)
    assert len(named) == (said is not None)
    assert all(line.startswith(f"{name} {partition_id}: {said}") for line in named)


def test_what_no_merge_can_hold_is_named_and_not_merged() -> None:
    large = partition("events", "20260316", parts=MERGE_ABOVE_PARTS + 1, size=MAX_MERGE_BYTES + 1)
    assert not wants_merge(large, TODAY)
    assert find_crowded([large], TODAY) == [
        f"events 20260316: {MAX_MERGE_BYTES + 1} bytes, too large for one merge"
    ]


@pytest.mark.parametrize(
    ("name", "partition_id", "why"),
    [
        ("events", "20260318", None),
        ("events", "20260319", "in the future"),
        ("events", "19991231", "before 2000-01-01"),
        ("events", "all", "its name is neither a day nor a month"),
        # Periods may lie ahead.
        ("metrics_timeseries", "202604", None),
        ("metrics_timeseries", "209901", "in the future"),
    ],
)
def test_a_partition_is_stray_where_no_event_can_be(
    name: str, partition_id: str, why: str | None
) -> None:
    named = find_strays([partition(name, partition_id)], TODAY)
    assert named == ([f"{name} {partition_id}: {why}, 5 rows"] if why else [])


def test_a_check_names_the_first_and_counts_all() -> None:
    own = [partition("events", "20260315", parts=3), partition("events", "20260316", size=70)]
    passed = judge([], own, WARN)
    assert (passed.passed, passed.description) == (True, "none")
    metadata = {name: value.value for name, value in passed.metadata.items()}
    assert metadata == {
        "named": 0,
        "partitions": 2,
        "parts": 4,
        "most_parts": 3,
        "bytes": 80,
        "largest_bytes": 70,
    }
    failed = judge([f"p{number}" for number in range(NAMED + 2)], own, WARN)
    assert (failed.passed, failed.severity) == (False, WARN)
    assert (failed.description or "").startswith("p0; p1; ")
    assert (failed.description or "").endswith("p19; 2 more")
    assert judge([], [], WARN).metadata["most_parts"].value == 0
