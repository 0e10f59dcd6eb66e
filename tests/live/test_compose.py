"""What `make test-compose` says where there is no Docker; what it tries wants one."""

from __future__ import annotations

import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


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
