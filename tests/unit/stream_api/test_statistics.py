"""Comparison of cohorts against the same figures computed from the raw values."""

from __future__ import annotations

import random
import statistics as plain
from datetime import date, timedelta

import pytest
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from stream_api.cohorts import Group, describe_trends
from stream_api.statistics import compare


def group(name: str, values: list[float]) -> Group:
    deviation = plain.stdev(values) if len(values) > 1 else None
    return Group(name, name.upper(), plain.fmean(values), len(values), deviation)


def sample(seed: int, size: int, mean: float) -> list[float]:
    generator = random.Random(seed)
    return [generator.gauss(mean, 0.2 + 0.1 * seed) for _ in range(size)]


A, B, C = sample(1, 40, 0.5), sample(2, 25, 0.7), sample(3, 12, 0.6)


def test_pairs_equal_welchs_test_on_the_raw_values() -> None:
    _, pairs = compare([group("a", A), group("b", B)])
    (pair,) = pairs
    raw = {"a": A, "b": B}
    first, second = raw[pair["a"]], raw[pair["b"]]
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert pair["pValue"] == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert pair["ci95"] == pytest.approx([interval.low, interval.high])
    assert pair["difference"] == pytest.approx(plain.fmean(first) - plain.fmean(second))
    other = CompareMeans(DescrStatsW(first), DescrStatsW(second)).tconfint_diff(usevar="unequal")
    assert pair["ci95"] == pytest.approx(list(other))


def test_p_values_are_adjusted_by_holm_over_all_pairs() -> None:
    _, pairs = compare([group("a", A), group("b", B), group("c", C)])
    ordered = sorted(pairs, key=lambda pair: pair["pValue"])
    expected, highest = [], 0.0
    for position, pair in enumerate(ordered):
        highest = max(highest, min(1.0, pair["pValue"] * (len(pairs) - position)))
        expected.append(highest)
    assert [pair["pAdjusted"] for pair in ordered] == pytest.approx(expected)


def test_cohorts_are_sorted_by_rank_and_small_samples_come_last() -> None:
    cohorts, pairs = compare(
        [group("low", [0.1] * 9 + [0.2]), group("few", [9.0, 9.5]), group("high", B)]
    )
    assert [(c["cohortId"], c["rank"]) for c in cohorts] == [("high", 1), ("low", 2), ("few", None)]
    assert cohorts[2]["smallSample"] is True
    assert "smallSample" not in cohorts[0]
    assert {pair["a"] for pair in pairs} | {pair["b"] for pair in pairs} == {"high", "low"}


def test_interval_of_a_cohort_is_of_students_t() -> None:
    cohorts, _ = compare([group("a", A)])
    low, high = DescrStatsW(A).tconfint_mean()
    assert cohorts[0]["ci95"] == pytest.approx([low, high])


def test_cohorts_without_spread_are_not_tested() -> None:
    cohorts, pairs = compare([group("a", [1.0] * 6), group("b", [2.0] * 6)])
    assert [c["ci95"] for c in cohorts] == [[2.0, 2.0], [1.0, 1.0]]
    assert (pairs[0]["pValue"], pairs[0]["pAdjusted"], pairs[0]["difference"]) == (None, None, 1.0)


def test_one_user_has_no_interval() -> None:
    cohorts, pairs = compare([group("a", [1.0])])
    assert (cohorts[0]["ci95"], cohorts[0]["stdDev"], pairs) == (None, None, [])


def test_nothing_to_compare_is_empty() -> None:
    assert compare([]) == ([], [])


def test_trend_bands_are_five_percent() -> None:
    start = date(2025, 1, 1)
    values = [100.0, 105.0, 110.26, 104.7, 99.0]
    described = describe_trends(
        [(start + timedelta(days=7 * n), value) for n, value in enumerate(values)],
        today=date(2025, 12, 1),
    )
    assert [d["trend"] for d in described] == ["stable", "stable", "up", "down", "down"]
    assert described[0]["changePercent"] == 0.0
    assert described[1]["changePercent"] == pytest.approx(5.0)


def test_change_from_nothing_has_a_direction_and_no_percentage() -> None:
    described = describe_trends(
        [(date(2025, 1, 1), 0.0), (date(2025, 1, 2), 3.0)], today=date(2025, 2, 1)
    )
    assert (described[1]["trend"], described[1]["changePercent"]) == ("up", None)


def test_change_of_a_negative_value_keeps_its_direction() -> None:
    described = describe_trends(
        [(date(2025, 1, 1), -2.0), (date(2025, 1, 2), -1.0)], today=date(2025, 2, 1)
    )
    assert (described[1]["trend"], described[1]["changePercent"]) == ("up", pytest.approx(50.0))


def test_a_bucket_that_is_still_filling_is_incomplete() -> None:
    values = [(date(2025, 11, 3), 1.0), (date(2025, 11, 10), 1.0), (date(2025, 11, 17), 1.0)]
    complete = [d["complete"] for d in describe_trends(values, today=date(2025, 11, 20))]
    assert complete == [True, True, False]
    complete = [d["complete"] for d in describe_trends(values, today=date(2025, 11, 24))]
    assert complete == [True, True, True]
