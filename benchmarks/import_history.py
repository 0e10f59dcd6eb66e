"""`python -m benchmarks.import_history [EVENTS]`: a file of history into an empty warehouse.

Once in the order of time, as exports are, and once shuffled over 60 days, where every batch touches
60 partitions. Then the first file again: the same events, so nothing may be doubled.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import clickhouse_connect

from embedded.child import Child, start_together
from embedded.clickhouse_part import ClickHouseServer
from embedded.ports import free_port
from sql.migrations import ClickHouseMigrations

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)
DAYS = 60
DATABASE = "teei_analytics"


def lines(count: int, order: list[int]) -> Iterator[str]:
    """Metric events of 20 companies and 5,000 users, some 200 bytes each."""
    step = timedelta(days=DAYS) / count
    for n in order:
        moment = BEGIN + n * step
        event = {
            "companyId": f"company-{n % 20}",
            "userId": f"user-{n % 5000}",
            "metricName": ("integration_score", "social_capital", "job_readiness")[n % 3],
            "value": random.random(),
            "periodStart": moment.date().replace(day=1).isoformat(),
            "dimensions": {"program": "mentorship"},
            "timestamp": moment.isoformat(),
        }
        yield json.dumps(event) + "\n"


def main(count: int) -> None:
    """Print a line a run."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        server = ClickHouseServer(folder / "clickhouse", free_port(), memory_mb=2048)
        process = Child(server.part(), folder / "logs", os.environ)
        start_together([process])
        stack.callback(process.stop)
        client = stack.enter_context(
            contextlib.closing(
                clickhouse_connect.get_client(
                    host="127.0.0.1", port=server.port, autogenerate_session_id=False
                )
            )
        )
        ClickHouseMigrations(client, DATABASE).apply()
        order = list(range(count))
        ordered, shuffled = folder / "ordered.jsonl", folder / "shuffled.jsonl"
        with ordered.open("w") as out:
            out.writelines(lines(count, order))
        random.shuffle(order)
        with shuffled.open("w") as out:
            out.writelines(lines(count, order))
        expected = 0
        for label, path, new in (
            ("in order", ordered, count),
            ("shuffled", shuffled, count),
            ("in order again", ordered, 0),
        ):
            before = os.times()
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "cli", "import", str(path), "--json"),
                    *("--subject", "metrics.calculated"),
                ],
                env=os.environ
                | {"CLICKHOUSE_HOST": "127.0.0.1", "CLICKHOUSE_PORT": str(server.port)},
                capture_output=True,
                text=True,
                check=True,
            )
            after = os.times()
            cpu = after.children_user + after.children_system
            cpu -= before.children_user + before.children_system
            seconds = json.loads(done.stdout)["seconds"]
            expected += new
            stored = client.query(
                f"SELECT count() FROM {DATABASE}.events FINAL"  # noqa: S608 (a constant)
            ).result_rows[0][0]
            assert stored == expected, (stored, expected)
            print(
                f"{label:<16}{count} events in {seconds:.1f} s: {count / seconds:,.0f} a second, "
                f"{cpu / count * 1e6:.1f} us CPU an event of the importer's own"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
