"""Open dead letters as an external asset, with a check and a sensor on their growth."""

from __future__ import annotations

import json
from dataclasses import dataclass

import dagster as dg
from clickhouse_connect.driver.client import Client

from pipelines.databases import Databases
from sql import statement

# Letters that came in within this time are news; older ones wait for a person who knows of them.
RECENT_SECONDS = 3600
SENSOR_SECONDS = 60
CHECK = "no_dead_letter_came_in_lately"

dead_letters = dg.AssetSpec(
    "dead_letters",
    deps=[dg.AssetKey(["jetstream", "analytics_events"])],
    description="Messages that could not be accepted, with reason and bytes. Written by the "
    "sidecar's sink; looked at, replayed and discarded by `analytics dlq`.",
    group_name="dead_letters",
    owners=["team:analytics"],
    kinds={"clickhouse"},
    metadata={
        "dagster/table_name": "teei_analytics.dead_letters",
        "what_to_do": "docs/operations.md#alert-letters",
    },
)


@dataclass(frozen=True)
class OpenLetters:
    """Open letters by reason, all of them and the recent ones."""

    waiting: dict[str, int]
    recent: dict[str, int]

    @property
    def metadata(self) -> dict[str, int]:
        """Numbers that the UI plots."""
        return {
            "open": sum(self.waiting.values()),
            "recent": sum(self.recent.values()),
            **{f"open_{reason}": count for reason, count in self.waiting.items()},
        }


def count_open(ch: Client) -> OpenLetters:
    """Count the open letters now."""
    found = ch.query(
        statement("clickhouse/count_open_dead_letters"),
        parameters={"recent_seconds": RECENT_SECONDS},
    ).result_rows
    return OpenLetters(
        waiting={str(reason): int(waiting) for reason, waiting, _ in found},
        recent={str(reason): int(recent) for reason, _, recent in found if recent},
    )


@dg.asset_check(
    asset=dead_letters.key,
    name=CHECK,
    description="No open dead letter came in within the last hour. The sensor says so within a "
    "minute; it needs no run.",
    pool="dead_letters",
)
def no_dead_letter_came_in_lately(
    databases: dg.ResourceParam[Databases],
) -> dg.AssetCheckResult:
    with databases.clickhouse() as ch:
        letters = count_open(ch)
    return dg.AssetCheckResult(
        passed=not letters.recent,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=letters.metadata,
        description=describe(letters),
    )


@dg.sensor(
    name="dead_letters_sensor",
    minimum_interval_seconds=SENSOR_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Records the number of open dead letters, and the check on them, when it changes.",
)
def dead_letters_sensor(
    context: dg.SensorEvaluationContext, databases: dg.ResourceParam[Databases]
) -> dg.SensorResult | dg.SkipReason:
    if not databases.warehouse_enabled:
        return dg.SkipReason("CLICKHOUSE_ENABLED is false")
    with databases.clickhouse() as ch:
        letters = count_open(ch)
    seen = json.dumps([letters.waiting, letters.recent])
    if seen == (context.cursor or json.dumps([{}, {}])):
        return dg.SkipReason("as many as before")
    return dg.SensorResult(
        cursor=seen,
        asset_events=[
            dg.AssetObservation(
                dead_letters.key, description=describe(letters), metadata=letters.metadata
            ),
            dg.AssetCheckEvaluation(
                asset_key=dead_letters.key,
                check_name=CHECK,
                passed=not letters.recent,
                severity=dg.AssetCheckSeverity.WARN,
                metadata=letters.metadata,
                description=describe(letters),
            ),
        ],
    )


def describe(letters: OpenLetters) -> str:
    """One sentence: what came in, and what waits."""
    new = ", ".join(f"{reason} {count}" for reason, count in letters.recent.items())
    waiting = sum(letters.waiting.values())
    return f"within the last hour: {new or 'none'}; {waiting} wait for a decision"
