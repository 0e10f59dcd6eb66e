"""What CI runs: everything, and nothing skipped."""

from __future__ import annotations

import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_ci_runs_the_whole_suite_and_lets_nothing_be_skipped(tmp_path: Path) -> None:
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "make $* in $PWD, CI=${CI:-}"\n')
    make.chmod(0o755)
    done = subprocess.run(
        [REPOSITORY / ".ci" / "run"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"make test in {REPOSITORY}, CI=true\n"
