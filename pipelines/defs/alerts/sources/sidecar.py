"""Streams that fail, by the counters of the sidecar's /metrics over the last five minutes.

Two samples make a rate; they are kept between ticks in the sensor's cursor. One sidecar is asked,
the one at HOST_ANALYTICS and PORT_ANALYTICS: several instances are for whoever scrapes them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

from pipelines.defs.alerts.condition import Condition, Severity

WINDOW_SECONDS = 300
TIMEOUT_SECONDS = 5.0
# The client's own faults (no token, no company) are no failures of ours.
OUR_REFUSALS = {"429", "500", "503"}
OUR_ENDINGS = {"slow", "stalled"}
# A handful proves nothing: one phone in a tunnel is a slow reader.
LEAST_FAILURES = 10
WARNING_RATE = 0.05
ERROR_RATE = 0.25
# A restart takes some seconds.
PATIENCE = timedelta(minutes=1)


class Sample(NamedTuple):
    """Counters since the sidecar's start, and when they were read (epoch s)."""

    at: float
    opened: int
    refused: int
    broken: int


class Rate(NamedTuple):
    """What was tried and what failed within a window."""

    tried: int
    failed: int
    seconds: float


def read_sample(address: str, now: float) -> Sample:
    """Counters of the sidecar at `address`.

    Raises:
        httpx.HTTPError: it does not answer, or not by 200.
    """
    response = httpx.get(f"{address}/metrics", timeout=TIMEOUT_SECONDS)
    response.raise_for_status()
    counters = {"opened": 0.0, "refused": 0.0, "broken": 0.0}
    for family in text_string_to_metric_families(response.text):
        for name, labels, value, *_ in family.samples:
            if name == "analytics_stream_opened_total":
                counters["opened"] += value
            elif name == "analytics_stream_refused_total" and labels["status"] in OUR_REFUSALS:
                counters["refused"] += value
            elif name == "analytics_stream_closed_total" and labels["reason"] in OUR_ENDINGS:
                counters["broken"] += value
    return Sample(now, *(int(counters[name]) for name in ("opened", "refused", "broken")))


def keep(samples: Sequence[Sample], newest: Sample) -> list[Sample]:
    """The samples of the window and the last one at or before its begin."""
    begin = newest.at - WINDOW_SECONDS
    outside = [one for one in samples if one.at <= begin]
    inside = [one for one in samples if begin < one.at < newest.at]
    return [*outside[-1:], *inside, newest]


def rate(samples: Sequence[Sample]) -> Rate:
    """Sums of the steps between samples; a counter that fell began anew with a restart."""
    opened = refused = broken = 0
    for before, after in pairwise(samples):
        restarted = after.opened < before.opened or after.refused < before.refused
        base = Sample(before.at, 0, 0, 0) if restarted else before
        opened += after.opened - base.opened
        refused += after.refused - base.refused
        broken += max(0, after.broken - base.broken)
    seconds = samples[-1].at - samples[0].at if samples else 0.0
    return Rate(opened + refused + broken, refused + broken, seconds)


def failing_streams(samples: Sequence[Sample]) -> Iterator[Condition]:
    """A condition when the share of failures is high and they are more than a handful."""
    found = rate(samples)
    if found.failed < LEAST_FAILURES or found.failed < WARNING_RATE * found.tried:
        return
    share = found.failed / found.tried
    yield Condition(
        "sidecar/failures",
        Severity.ERROR if share >= ERROR_RATE else Severity.WARNING,
        f"{share:.0%} of streams failed within {found.seconds / 60:.0f} min: {found.failed} of "
        f"{found.tried} were refused (429, 500, 503), slow or stalled",
        "alert-sidecar",
    )


def away(address: str, error: httpx.HTTPError) -> Condition:
    """The sidecar does not answer: no streams, nothing stored."""
    return Condition(
        "sidecar/away",
        Severity.CRITICAL,
        f"the sidecar does not answer at {address}: {error or type(error).__name__}",
        "alert-sidecar",
        PATIENCE,
    )
