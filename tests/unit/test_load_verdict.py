"""The load test's verdict: each threshold on its own can fail it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.load.k6 import Figures
from benchmarks.load.stream import Tally
from benchmarks.load.users import Outcome
from benchmarks.load.verdict import lines, table

GOOD_TALLY = Tally(opened=171, errors=["no"] * 9, events=1000, latencies=[0.4] * 1000)
GOOD = Outcome(GOOD_TALLY, published=1000, missing=0)
GOOD_K6 = Figures(100, 0.95, 9, 1000, open_p95_ms=499, passed=True)


def missed(outcome: Outcome, k6: Figures) -> list[str]:
    return [line.what for line in lines(outcome, k6) if line.good is False]


def with_tally(**changed: object) -> Outcome:
    return replace(GOOD, tally=replace(GOOD_TALLY, **changed))  # type: ignore[arg-type]


def test_what_just_meets_every_threshold_is_good() -> None:
    assert missed(GOOD, GOOD_K6) == []
    assert "MISSED" not in table(lines(GOOD, GOOD_K6))


@pytest.mark.parametrize(
    ("outcome", "k6", "what"),
    [
        (with_tally(opened=170), GOOD_K6, "our streams that went live"),
        (with_tally(opened=190, errors=["no"] * 10), GOOD_K6, "our connection errors"),
        (with_tally(latencies=[0.1] * 94 + [0.6] * 6), GOOD_K6, "publish → receive, p95"),
        (with_tally(latencies=[]), GOOD_K6, "publish → receive, p95"),
        (with_tally(gaps=1), GOOD_K6, "missing, doubled or reset"),
        (replace(GOOD, missing=1), GOOD_K6, "missing, doubled or reset"),
        (GOOD, replace(GOOD_K6, succeeded=0.94), "k6's streams that went live"),
        (GOOD, replace(GOOD_K6, errors=10), "k6's connection errors"),
    ],
)
def test_each_alone_is_a_failure(outcome: Outcome, k6: Figures, what: str) -> None:
    assert missed(outcome, k6) == [what]
    assert "MISSED" in table(lines(outcome, k6))
