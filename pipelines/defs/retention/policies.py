"""The table `retention_policies`: days a dataset is kept, by default and for single companies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

import psycopg

from config import Settings
from pipelines.defs.partitions.stock import Grain
from sql import statement

DATASETS = ("events", "aggregates", "dead_letters", "query_log", "replay")
HOURS_A_DAY = 24


class PolicyError(RuntimeError):
    """The table of policies names no default of a dataset, so nothing of it may be dropped."""


@dataclass(frozen=True)
class Policy:
    """Days that a dataset is kept: the default, and companies with days of their own."""

    days: int
    companies: Mapping[str, int] = field(default_factory=dict)

    def cutoff(self, company_id: str, today: date, grain: Grain) -> date:
        """The first day that the company's rows are kept of; older ones go."""
        return _floor(today, self.companies.get(company_id, self.days), grain)

    def longest(self) -> Policy:
        """The policy of rows that name no company: for as long as anybody keeps theirs."""
        return Policy(max([self.days, *self.companies.values()]))

    def latest_cutoff(self, today: date, grain: Grain) -> date:
        """No row from this day on goes, whoever's it is."""
        return _floor(today, min([self.days, *self.companies.values()]), grain)


@dataclass(frozen=True)
class Policies:
    """Policies by dataset, and the age of the stream of events in hours."""

    datasets: Mapping[str, Policy]
    replay_hours: int

    def of(self, dataset: str) -> Policy:
        """The dataset's policy.

        Raises:
            PolicyError: the table does not name it.
        """
        try:
            return self.datasets[dataset]
        except KeyError:
            raise PolicyError(f"retention_policies has no default for {dataset}") from None


def follow_settings(pg: psycopg.Connection, settings: Settings) -> list[str]:
    """Make the default rows those of the settings; returns the datasets that changed."""
    wanted: dict[str, Decimal | int] = {
        "events": settings.retention_events_days,
        "aggregates": settings.retention_aggregates_days,
        "dead_letters": settings.retention_dead_letters_days,
        "query_log": settings.retention_query_log_days,
        "replay": Decimal(settings.retention_replay_hours) / HOURS_A_DAY,
    }
    changed = []
    for dataset, days in wanted.items():
        parameters = {"dataset": dataset, "days": round(Decimal(days), 6)}
        if pg.execute(statement("postgres/upsert_default_policies"), parameters).fetchone():
            changed.append(dataset)
    return changed


def read_policies(pg: psycopg.Connection) -> Policies:
    """All policies as they are now.

    Raises:
        PolicyError: a dataset has no default.
    """
    defaults: dict[str, Decimal] = {}
    companies: dict[str, dict[str, int]] = {}
    for dataset, company_id, days in pg.execute(statement("postgres/select_policies")):
        if company_id is None:
            defaults[dataset] = days
        else:
            companies.setdefault(dataset, {})[company_id] = int(days)
    for dataset in DATASETS:
        if dataset not in defaults:
            raise PolicyError(f"retention_policies has no default for {dataset}")
    return Policies(
        {
            dataset: Policy(int(defaults[dataset]), companies.get(dataset, {}))
            for dataset in DATASETS
            if dataset != "replay"
        },
        round(defaults["replay"] * HOURS_A_DAY),
    )


def _floor(today: date, days: int, grain: Grain) -> date:
    try:
        first_kept = today - timedelta(days=days)
    except OverflowError:  # kept for longer than there are dates
        return date.min
    return first_kept.replace(day=1) if grain == "month" else first_kept
