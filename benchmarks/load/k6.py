"""k6 with `tests/k6/streaming-load.js`: its process, and what it says in the end."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "tests" / "k6" / "streaming-load.js"
# k6's own exit code for a threshold that was not met.
THRESHOLDS_FAILED = 99


class K6Error(RuntimeError):
    """k6 is not there, or has ended without a result; one line."""


@dataclass(frozen=True)
class Figures:
    """What k6 counted. `open_p95_ms` is the time until a stream's head is there."""

    streams: int
    succeeded: float
    errors: int
    events: int
    open_p95_ms: float
    passed: bool


def find_k6() -> str:
    """Path of k6: the environment's own, else on PATH.

    Raises:
        K6Error: there is none.
    """
    own = Path(sys.executable).with_name("k6")
    found = str(own) if own.exists() else shutil.which("k6")
    if not found:
        raise K6Error("there is no k6; bin/make-venv installs it, or install k6 1.1 yourself")
    return found


async def run_k6(
    url: str, company: str, folder: Path, *, users: int, stage_seconds: float, lifetime_seconds: int
) -> Figures:
    """Run the script to its end.

    Raises:
        K6Error: it ended without a result.
    """
    summary = folder / "k6.json"
    log = folder / "k6.log"
    given = {
        "BASE_URL": url,
        "COMPANY": company,
        "USERS": users,
        "STAGE_SECONDS": stage_seconds,
        "LIFETIME_SECONDS": lifetime_seconds,
    }
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(find_k6(), "run", "--quiet", "--no-color", "--no-usage-report"),
            *("--summary-export", str(summary), "--address", "127.0.0.1:0"),
            *(f"--env={name}={value}" for name, value in given.items()),
            str(SCRIPT),
            stdout=output,
            stderr=output,
            # Nothing of the caller's K6_… may change what is measured.
            env={k: v for k, v in os.environ.items() if not k.startswith("K6_")},
        )
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
    if status not in {0, THRESHOLDS_FAILED} or not summary.exists():
        lines = log.read_text(errors="replace").strip().splitlines() or ["no output"]
        raise K6Error(f"k6 ended with {status}: {lines[-1]}")
    metrics = json.loads(summary.read_text())["metrics"]
    success = metrics["connection_success"]
    return Figures(
        streams=success["passes"] + success["fails"],
        succeeded=success["value"],
        errors=int(metrics["connection_errors"]["count"]),
        events=int(metrics["events_received"]["count"]),
        open_p95_ms=metrics["stream_open_ms"]["p(95)"],
        passed=status == 0,
    )
