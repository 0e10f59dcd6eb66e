"""The table `partition_actions`: what was done to which partition, when and by which run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import psycopg

from sql import statement

Outcome = Literal["done", "refused", "failed"]


@dataclass(frozen=True)
class PartitionAction:
    """One step as it went. `rows` and `bytes` are what it was about when its turn came."""

    action: str
    outcome: Outcome
    dataset: str
    table_name: str
    partition_id: str
    companies: int
    rows: int
    bytes: int
    duration_seconds: float
    reason: str


def record(pg: psycopg.Connection, one: PartitionAction, now: datetime, run_id: str) -> None:
    """Keep it; `now` is the moment that the decision was made for."""
    pg.execute(
        statement("postgres/insert_partition_action"),
        {**vars(one), "decided_for": now, "run_id": run_id},
    )
