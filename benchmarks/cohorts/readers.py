"""Readers of the HTTP API: each asks its next question when it has the answer to the last one."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any

import aiohttp

METRICS = [f"metric_{number}" for number in range(10)]
COMPARED = 50


@dataclass
class Timing:
    """Latencies in milliseconds of the answers, and what was none."""

    ms: list[float] = field(default_factory=list)
    errors: int = 0
    hits: int = 0
    seconds: float = 0.0

    def p(self, percent: int) -> float:
        """A percentile of the latencies."""
        return quantiles(self.ms, n=100, method="inclusive")[percent - 1]


@dataclass(frozen=True)
class Request:
    """One request as aiohttp takes it."""

    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any] | None = None


def requests(route: str, cohorts: dict[str, list[str]], distinct: int) -> Iterator[Request]:
    """Endlessly, `distinct` different questions of a route, spread over companies and metrics."""
    return itertools.cycle(itertools.islice(_all(route, cohorts), distinct))


def _all(route: str, cohorts: dict[str, list[str]]) -> Iterator[Request]:
    companies = sorted(cohorts)
    largest = max(companies, key=lambda company: len(cohorts[company]))
    for variant in itertools.count():
        for metric in METRICS:
            if route == "compare":
                ids = cohorts[largest][:COMPARED]
                month = f"{2024 + variant // 12 % 2}-{variant % 12 + 1:02d}-01"
                body = {"cohortIds": ids, "metric": metric, "periodStart": month}
                if variant >= 24:
                    # As many questions as are wanted: other cohorts of the same company.
                    body["cohortIds"] = [*ids[:-1], cohorts[largest][COMPARED - 1 + variant % 20]]
                yield Request("POST", "/cohort/compare", {"companyId": largest}, body)
                continue
            for company in companies:
                cohort = cohorts[company][variant % len(cohorts[company])]
                query = {"companyId": company, "metric": metric}
                # A different limit is a different question of the same cost.
                extra = {"periods": str(24 + variant)} if route == "trends" else {}
                if route == "metrics":
                    extra = {"limit": str(100 + variant)}
                path = "/cohort/top" if route == "top" else f"/cohort/{cohort}/{route}"
                yield Request("GET", path, query | extra)


async def measure(url: str, asked: Iterator[Request], readers: int, seconds: float) -> Timing:
    """Let `readers` ask for `seconds`."""
    timing = Timing()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, connector=connector) as session:
        started = time.perf_counter()

        async def read() -> None:
            while time.perf_counter() - started < seconds:
                request = next(asked)
                at = time.perf_counter()
                try:
                    async with session.request(
                        request.method, request.path, params=request.query, json=request.body
                    ) as answer:
                        await answer.read()
                        ok = answer.status == 200
                        timing.hits += answer.headers.get("X-Cache") == "hit"
                except aiohttp.ClientError:
                    ok = False
                if ok:
                    timing.ms.append((time.perf_counter() - at) * 1000)
                else:
                    timing.errors += 1

        await asyncio.gather(*(read() for _ in range(readers)))
        timing.seconds = time.perf_counter() - started
    return timing
