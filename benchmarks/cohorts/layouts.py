"""What the view and other sorting keys cost: the API's own statements on copies of the table."""

from __future__ import annotations

import time
from statistics import median

from clickhouse_connect.driver.client import Client

from benchmarks.cohorts.world import World
from sql import statement

REPEATS = 15
METRIC = "metric_3"
STATEMENTS = (
    "select_cohort_metrics",
    "select_cohort_trends",
    "select_cohort_comparison",
    "select_metrics_versions",
)
VIEW = (
    "SELECT * FROM cohort_metrics_mv"
    " WHERE cohort_id = {cohort_id:String} AND metric_name = {metric:String}"
)
KEY = "PRIMARY KEY (company_id, metric_name, period_start)"
LAYOUTS = {
    "granules of 8192": f"{KEY} ORDER BY (company_id, metric_name, period_start, event_id)",
    "granules of 1024": f"{KEY} ORDER BY (company_id, metric_name, period_start, event_id)"
    " SETTINGS index_granularity = 1024",
    "granules of 256": f"{KEY} ORDER BY (company_id, metric_name, period_start, event_id)"
    " SETTINGS index_granularity = 256",
    "256, user in the key": f"{KEY} ORDER BY (company_id, metric_name, period_start, user_id,"
    " event_id) SETTINGS index_granularity = 256, allow_nullable_key = 1",
}


def compare_layouts(built: World) -> None:
    """Print medians in milliseconds of each statement on each layout, in parts as they come."""
    client = built.clickhouse
    companies = sorted(built.cohorts, key=lambda company: len(built.cohorts[company]))
    chosen = {"largest": companies[-1], "median": companies[len(companies) // 2]}
    for name, key in LAYOUTS.items():
        client.command("DROP TABLE IF EXISTS metrics_copy SYNC")
        client.command(
            "CREATE TABLE metrics_copy AS metrics_timeseries ENGINE = ReplacingMergeTree"
            f" PARTITION BY toYYYYMM(period_start) {key}"
        )
        client.command("INSERT INTO metrics_copy SELECT * FROM metrics_timeseries")
        client.command("OPTIMIZE TABLE metrics_copy FINAL")
        for size, company in chosen.items():
            values = _values(company, built.cohorts[company])
            line = f"{name:22} {size:8}"
            for query in STATEMENTS:
                text = statement(f"clickhouse/{query}")
                line += f" {query.removeprefix('select_')} {_median(client, text, values):.1f}"
            print(line, flush=True)
    for size, company in chosen.items():
        values = _values(company, built.cohorts[company])
        print(f"{'cohort_metrics_mv':22} {size:8} {_median(client, VIEW, values, 3):.1f}")


def _values(company: str, cohorts: list[str]) -> dict[str, object]:
    return {
        "company_id": company,
        "company_ids": [company],
        "cohort_id": cohorts[0],
        "cohort_ids": cohorts[:50],
        "metric": METRIC,
        "start_date": "1970-01-01",
        "end_date": "2149-06-06",
        "period_start": "2025-06-01",
        "row_limit": 101,
    }


def _median(client: Client, text: str, values: dict[str, object], repeats: int = REPEATS) -> float:
    """Milliseconds of a statement on the copy; the view reads the table itself."""
    text = text.replace("metrics_timeseries", "metrics_copy")
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        client.query(text, values, settings={"final": 1})
        times.append((time.perf_counter() - started) * 1000)
    return median(times[1:])
