"""`make load`, small: k6 runs the script, our client times the events, nothing stays behind."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load.k6 import K6Error, run_k6
from tests.live.conftest import temporary_folder
from tests.live.sidecar import SidecarProcess

# A run of seconds beside other tests says nothing of latency.
SMALL = (
    *("--users=10", "--stage-seconds=1", "--lifetime-seconds=2", "--events-per-second=10"),
    "--most-p95-ms=30000",
)


def test_ten_users_meet_every_threshold() -> None:
    with temporary_folder() as folder:
        folder.chmod(0o755)  # Postgres is another user
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load", *SMALL],
            env={**os.environ, "TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        left = [path.name for path in folder.iterdir()]
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" met\n") == 6
    ours, k6s = re.findall(r"streams, ours and k6's +(\d+) and (\d+)", done.stdout)[0]
    # Each stream ends after two seconds, so everybody has come back by its last id.
    assert int(ours) >= 20
    assert int(k6s) >= 10
    assert int(re.findall(r"resumed by last id +(\d+)", done.stdout)[0]) >= 10
    assert left == []


async def test_k6_says_in_a_line_that_a_server_ends_no_stream(
    sidecar: SidecarProcess, tmp_path: Path
) -> None:
    with pytest.raises(K6Error) as refused:
        # -9: the script waits ten seconds longer than a stream may live.
        await asyncio.wait_for(
            run_k6(sidecar.url, "c", tmp_path, users=1, stage_seconds=1, lifetime_seconds=-9), 30
        )
    assert "STREAM_MAX_LIFETIME_S" in str(refused.value)
