"""Which backup each lost day of events comes back from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import psycopg
from clickhouse_connect.driver.client import Client

from config import Settings
from config.names import TABLE_EVENTS
from pipelines.defs.backups import catalogue
from pipelines.defs.backups.chains import newest
from pipelines.defs.backups.restore_plan import RestorePlan, RestoreRefusedError, make_plan
from pipelines.defs.backups.target import open_target


def plan_days(
    pg: psycopg.Connection,
    ch: Client,
    settings: Settings,
    days: Sequence[date],
    backup_id: str | None = None,
) -> list[RestorePlan]:
    """A plan for each backup that some of the days come back from.

    Without a backup it is, day by day, the newest trusted one that has the day: one that was taken
    after the loss has it no more.

    Raises:
        RestoreRefusedError: a day is in no trusted backup, or not in the one that is named.
        BackupsBusyError: a backup, drill or restore is under way.
    """
    if backup_id is not None:
        return [make_plan(pg, ch, settings, backup_id=backup_id, days=days)]
    target = open_target(settings, ch)
    with catalogue.opened(pg, target, settings.clickhouse_database) as opened:
        known = opened.backups
    chosen: dict[str, list[date]] = {}
    missing = []
    for day in sorted(set(days)):
        found = newest(known, holding=(TABLE_EVENTS, f"{day:%Y%m%d}"))
        if found is None:
            missing.append(day.isoformat())
        else:
            chosen.setdefault(found.backup_id, []).append(day)
    if missing:
        raise RestoreRefusedError(
            f"no trusted backup in {target.name} has events of {', '.join(missing)}"
        )
    return [make_plan(pg, ch, settings, backup_id=one, days=some) for one, some in chosen.items()]
