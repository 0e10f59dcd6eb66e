"""`python -m benchmarks.materialized_views`: refresh each view over 10 million source rows.

A view at a time: fill its source by one statement, fill the view, refresh it concurrently as the
schedule does, take time and CPU, empty the source. Two figures a refresh, since a loaded machine
stretches the first: seconds on the clock, and CPU of the backend without parallel workers.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg
import typer
from psycopg import sql

from benchmarks.streaming.process import cpu_seconds
from embedded.child import Child, start_together
from embedded.ports import free_port
from embedded.postgres import PostgresServer
from sql.migrations import PostgresMigrations

FOLDER = Path(__file__).parent
VIEWS = {
    "company_dashboard_mv": "metrics_company_period",
    "program_performance_mv": "metrics_program_period",
    "language_group_performance_mv": "metrics_language_period",
    "journey_stage_distribution_mv": "user_journeys",
}
ROWS_A_COMPANY = 500


def run(rows: int = 10_000_000, rounds: int = 3) -> None:
    """Print one line a view."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="analytics-benchmark-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = PostgresServer(folder / "postgres", free_port(), durable=False)
        child = Child(server.part(), folder / "logs", os.environ)
        stack.callback(child.stop)
        start_together([child])
        server.create_databases(["bench"])
        pg = stack.enter_context(psycopg.connect(server.url("bench"), autocommit=True))
        PostgresMigrations(pg).apply()
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {rows:,} rows a source")
        print("view                           filled s  refresh s  CPU s  workers s  rows")
        for view, source in VIEWS.items():
            measure(pg, view, source, rows, rounds)


def measure(pg: psycopg.Connection, view: str, source: str, rows: int, rounds: int) -> None:
    """Fill, refresh, print."""
    fill = (FOLDER / f"fill_{source}.sql").read_text(encoding="utf-8")
    # Without the change log's triggers: how the source was filled is not what is measured.
    pg.execute("SET session_replication_role = replica")
    pg.execute(fill, {"companies": rows // ROWS_A_COMPANY})
    pg.execute("SET session_replication_role = DEFAULT")
    pg.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(source)))
    filled, _, count = refresh(pg, view)
    pg.execute("SET max_parallel_workers_per_gather = 0")
    alone = [refresh(pg, view) for _ in range(rounds)]
    pg.execute("RESET max_parallel_workers_per_gather")
    parallel = [refresh(pg, view) for _ in range(rounds)]
    print(
        f"{view:<30} {filled:>8.1f} {statistics.median(one[0] for one in alone):>10.2f}"
        f" {statistics.median(one[1] for one in alone):>6.2f}"
        f" {statistics.median(one[0] for one in parallel):>10.2f}  {count:,}",
        flush=True,
    )
    pg.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(source)))


def refresh(pg: psycopg.Connection, view: str) -> tuple[float, float, int]:
    """Seconds on the clock, seconds of CPU of the backend, rows of the view."""
    pid = pg.info.backend_pid
    began, cpu = time.monotonic(), cpu_seconds([pid])
    [(status, count)] = pg.execute(
        'SELECT status, "rows" FROM refresh_analytics_materialized_view(%s, %s)',
        (view, "benchmark"),
    ).fetchall()
    assert status == "ok"
    return time.monotonic() - began, cpu_seconds([pid]) - cpu, int(count)


if __name__ == "__main__":
    typer.run(run)
