"""Assets that are older than their freshness policy allows, as Dagster's daemon has judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import dagster as dg
from dagster._core.definitions.freshness import FreshnessState

from pipelines.defs.alerts.condition import Condition, Severity, span

# After a standstill of the daemon its first runs are on their way.
PATIENCE = timedelta(minutes=2)


def stale_assets(
    instance: dg.DagsterInstance, assets: Sequence[dg.AssetKey], now: datetime
) -> Iterator[Condition]:
    """One condition an asset; `assets` are those with a policy."""
    states = instance.get_freshness_state_records(list(assets))
    for key, record in sorted(states.items()):
        if record.freshness_state is not FreshnessState.FAIL:
            continue
        event = instance.get_latest_materialization_event(key)
        age = f"{span(now.timestamp() - event.timestamp)} ago" if event else "never"
        yield Condition(
            key=f"freshness/{key.to_user_string()}",
            severity=Severity.ERROR,
            text=f"asset {key.to_user_string()} is stale: it was last made {age}",
            see="alert-freshness",
            patience=PATIENCE,
        )
