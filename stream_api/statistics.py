"""Comparison of cohorts: intervals, ranks, and pairwise differences.

The statistics are scipy's and statsmodels'; only the Welch-Satterthwaite degrees of freedom, which
neither gives for summary figures, are computed here (B. L. Welch, Biometrika 34, 1947). Both
libraries take half a second to import, so they are imported when the first comparison is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import isfinite, sqrt
from typing import Any

from stream_api.cohorts import Group

CONFIDENCE = 0.95
# Fewer users say too little to be ranked.
SMALL_SAMPLE = 5


def compare(groups: Sequence[Group]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Cohorts sorted by rank, 1 the highest, small samples last; and all pairs of the ranked.

    p-values are of Welch's test, adjusted by Holm over all pairs. The effect size is Hedges' g.
    """
    ranked = sorted((g for g in groups if g.size >= SMALL_SAMPLE), key=_highest_first)
    small = sorted((g for g in groups if g.size < SMALL_SAMPLE), key=_highest_first)
    cohorts = [_cohort(group, rank) for rank, group in enumerate(ranked, 1)]
    cohorts += [_cohort(group, None) for group in small]
    return cohorts, _pairs(ranked)


def _highest_first(group: Group) -> tuple[float, str]:
    return (-group.mean, group.cohort_id)


def _cohort(group: Group, rank: int | None) -> dict[str, Any]:
    from scipy import stats

    interval: list[float] | None = None
    if group.size > 1 and group.std_dev is not None:
        error = group.std_dev / sqrt(group.size)
        if error:
            low, high = stats.t.interval(CONFIDENCE, group.size - 1, loc=group.mean, scale=error)
            interval = [float(low), float(high)]
        else:
            interval = [group.mean, group.mean]
    described = {
        "cohortId": group.cohort_id,
        "cohortName": group.name,
        "value": group.mean,
        "sampleSize": group.size,
        "stdDev": group.std_dev,
        "ci95": interval,
        "rank": rank,
    }
    if rank is None:
        described["smallSample"] = True
    return described


def _pairs(ranked: Sequence[Group]) -> list[dict[str, Any]]:
    pairs = [_pair(a, b) for a, b in combinations(ranked, 2)]
    tested = [pair for pair in pairs if pair["pValue"] is not None]
    if tested:
        from statsmodels.stats.multitest import multipletests

        adjusted = multipletests([pair["pValue"] for pair in tested], method="holm")[1]
        for pair, value in zip(tested, adjusted, strict=True):
            pair["pAdjusted"] = float(value)
    return pairs


def _pair(a: Group, b: Group) -> dict[str, Any]:
    from scipy import stats
    from statsmodels.stats.meta_analysis import effectsize_smd

    pair: dict[str, Any] = {
        "a": a.cohort_id,
        "b": b.cohort_id,
        "difference": a.mean - b.mean,
        "ci95": None,
        "effectSize": None,
        "pValue": None,
        "pAdjusted": None,
    }
    deviation_a, deviation_b = a.std_dev or 0.0, b.std_dev or 0.0
    variance_a, variance_b = deviation_a**2 / a.size, deviation_b**2 / b.size
    error = sqrt(variance_a + variance_b)
    if not error:
        return pair  # no spread in either: there is nothing to test against
    test = stats.ttest_ind_from_stats(
        a.mean, deviation_a, a.size, b.mean, deviation_b, b.size, equal_var=False
    )
    freedom = (variance_a + variance_b) ** 2 / (
        variance_a**2 / (a.size - 1) + variance_b**2 / (b.size - 1)
    )
    low, high = stats.t.interval(CONFIDENCE, freedom, loc=pair["difference"], scale=error)
    effect = float(effectsize_smd(a.mean, deviation_a, a.size, b.mean, deviation_b, b.size)[0])
    pair["ci95"] = [float(low), float(high)]
    pair["effectSize"] = effect if isfinite(effect) else None
    pair["pValue"] = float(test.pvalue)
    return pair
