"""`python -m benchmarks.streaming [scenario…]`: measure and print the tables."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import psycopg

from benchmarks.streaming import plot
from benchmarks.streaming.process import LOAD_CORES, SetupError
from benchmarks.streaming.results import Result, table
from benchmarks.streaming.scenarios import SCENARIOS
from benchmarks.streaming.servers import Maker, makers
from embedded.child import Child, ChildError, start_together
from embedded.ports import free_port
from embedded.postgres import PLATFORM_DATABASE, PostgresServer
from sql.migrations import PostgresMigrations

PICTURE = Path(__file__).parent / "results.svg"
OPEN_FILES = 20_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the wanted scenarios; 2 when something that they need is missing."""
    wanted = _parse(arguments)
    os.sched_setaffinity(0, LOAD_CORES)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, most), most))
    results: list[Result] = []
    try:
        with _work_folder() as work, _platform(work) as database_url:
            known = makers(work, database_url)
            for name in wanted.scenarios or SCENARIOS:
                measured = _measure(name, known, wanted.runs, wanted.servers)
                results += measured
                print(f"\n{name}: {SCENARIOS[name].title}\n\n{table(measured, name)}", flush=True)
    except (SetupError, ChildError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if wanted.json:
        wanted.json.write_text(json.dumps([asdict(r) for r in results], indent=1))
    if wanted.plot:
        plot.write(results, PICTURE)
    return 0


def _measure(name: str, known: dict[str, Maker], runs: int, only: str) -> list[Result]:
    """All servers in turn, `runs` times over."""
    scenario = SCENARIOS[name]
    servers = [s for s in scenario.servers if s in (only.split(",") if only else known)]
    results = []
    for number in range(runs):
        for server_name in servers:
            with known[server_name]() as server:
                figures = scenario.run(server)
            figures["machine_load"] = os.getloadavg()[0]
            results.append(Result(name, server_name, number, figures))
            shown = " ".join(f"{key}={value:.5g}" for key, value in figures.items())
            sys.stderr.write(f"{name} round {number + 1} {server_name}: {shown}\n")
    return results


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.streaming",
        epilog="scenarios: " + "; ".join(f"{n} ({s.title})" for n, s in SCENARIOS.items()),
    )
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS], metavar="scenario")
    parser.add_argument("--runs", type=int, default=3, help="rounds; the tables show medians")
    parser.add_argument("--servers", default="", help="comma list; default: all of the scenario")
    parser.add_argument("--json", type=Path, help="write every figure of every round")
    parser.add_argument("--plot", action="store_true", help=f"write {PICTURE.name}")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _work_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="analytics-bench-"))
    folder.chmod(0o755)  # nginx's worker and Postgres are other users
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _platform(work: Path) -> Iterator[str]:
    """A migrated Postgres for our sidecar: it reads flags and health from there."""
    server = PostgresServer(work / "postgres", free_port(), durable=False)
    process = Child(server.part(), work / "logs", os.environ)
    start_together([process])
    try:
        server.create_databases([PLATFORM_DATABASE])
        with psycopg.connect(server.url(), autocommit=True) as connection:
            PostgresMigrations(connection).apply()
        yield server.url()
    finally:
        process.stop()


if __name__ == "__main__":
    sys.exit(main())
