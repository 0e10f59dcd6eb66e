"""What can be tried of the compose file's own scripts where there is no Docker."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

from sql.migrations import split_statements
from tests.live.conftest import Backend

REPOSITORY = Path(__file__).parents[2]


def test_the_engine_reads_the_row_policies_as_they_are_written(backend: Backend) -> None:
    """It has no users to make them for; on a real server `bin/test-compose` tries them."""
    text = (REPOSITORY / "deploy" / "clickhouse" / "row_policies.sql").read_text()
    with contextlib.closing(backend.clickhouse_client()) as ch:
        kinds = [
            str(ch.command(f"EXPLAIN AST {one}")).partition("Query")[0].strip()
            for one in split_statements(text)
        ]
    policy = "CREATE ROW POLICY or ALTER ROW POLICY query"
    assert kinds == ["CreateRole", policy, policy, *["Grant"] * 7]


def test_without_docker_it_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", REPOSITORY / "bin" / "test-compose"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "DOCKER_HOST": "unix:///nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "Docker" in done.stderr
