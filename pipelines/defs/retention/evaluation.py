"""What a policy says about one partition: pure, so that it can be tried on anything.

A row goes when its day is before its company's cutoff. A partition is dropped when that holds for
every row of it; as long as one company keeps a row, the others' rows are deleted from it instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from pipelines.defs.partitions.stock import Grain
from pipelines.defs.retention.policies import Policy

Rows = Mapping[tuple[str, date], int]


@dataclass(frozen=True)
class Expired:
    """Rows before `cutoff` of these companies; all of the other companies' stay."""

    cutoff: date
    companies: tuple[str, ...]
    rows: int


@dataclass(frozen=True)
class Verdict:
    """Drop the partition, delete some of it, or (both empty) leave it."""

    drop: bool
    delete: tuple[Expired, ...]
    rows: int
    companies: int


def evaluate(rows: Rows, policy: Policy, today: date, grain: Grain, end: date) -> Verdict:
    """Judge a partition by its rows.

    Args:
        rows: (company, day) → rows of the partition.
        policy: of its dataset.
        today: UTC date of the run's clock.
        grain: rows go by whole days or whole months.
        end: the first day after the partition. One without rows goes when the default would let
            it: what is left of it are rows that were deleted already.
    """
    expired: dict[date, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    kept = False
    for (company_id, day), count in rows.items():
        cutoff = policy.cutoff(company_id, today, grain)
        if day < cutoff:
            expired[cutoff][company_id] += count
        else:
            kept = True
    gone = sum(sum(companies.values()) for companies in expired.values())
    names = {company_id for companies in expired.values() for company_id in companies}
    if not kept:
        over = bool(rows) or end <= policy.cutoff("", today, grain)
        return Verdict(over, (), gone, len(names))
    return Verdict(
        False,
        tuple(
            Expired(cutoff, tuple(sorted(companies)), sum(companies.values()))
            for cutoff, companies in sorted(expired.items())
        ),
        gone,
        len(names),
    )
