"""Import directions: who may know whom. Read from the sources, so that no import escapes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
OURS = {
    *("config", "sql", "events", "cohort_filters", "pipelines", "stream_api", "embedded", "cli"),
    *("tests", "benchmarks", "reference"),
}
ALLOWED: dict[str, set[str]] = {
    "config": set(),
    "sql": set(),
    "events": {"config"},
    "cohort_filters": set(),
    "stream_api": {"config", "sql", "events", "cohort_filters"},
    "pipelines": {"config", "sql", "events", "cohort_filters"},
    "embedded": {"config", "sql"},
    # The operator's tool: it reads what the servers hold, but is no part of them.
    "cli": {"config", "sql", "events", "embedded", "stream_api", "pipelines"},
}


def imported(tree: ast.AST) -> Iterator[str]:
    """Top-level packages that the module imports, inside of functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_it_may_know(package: str) -> None:
    forbidden = []
    for path in sorted((REPOSITORY / package).rglob("*.py")):
        names = set(imported(ast.parse(path.read_text(encoding="utf-8"))))
        for name in sorted(names & (OURS - ALLOWED[package] - {package})):
            forbidden.append(f"{path.relative_to(REPOSITORY)} imports {name}")
    assert not forbidden


def test_config_needs_only_pydantic() -> None:
    """Every process imports it, so that it must not drag a framework along."""
    outside = set()
    for path in (REPOSITORY / "config").rglob("*.py"):
        outside |= set(imported(ast.parse(path.read_text(encoding="utf-8"))))
    assert outside & {"fastapi", "dagster", "nats", "psycopg", "clickhouse_connect"} == set()


def test_the_command_line_does_without_dagster() -> None:
    """Loading it is a third of what a person waits for."""
    asked = "import sys, cli.__main__; print('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
