"""The table `reconciliations`: what every check of an hour found, and which hours are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from clickhouse_connect.driver.client import Client

from config.names import TABLE_RECONCILIATIONS
from pipelines.defs.reconciliation.comparison import Tally
from pipelines.defs.reconciliation.hour import Comparison, Hour
from sql import statement

# The hour as a whole; no company has such an id.
WHOLE_HOUR = "*"
COLUMNS = (
    *("hour", "company_id", "state", "streamed", "stored", "dead_letters", "missing", "pending"),
    *("duplicates", "unexpected", "repaired", "missing_seqs", "unexpected_ids", "run_id"),
)
# A run is four seconds: what an outage of the daemon left is caught up a few hours at a time.
DUE_AT_ONCE = 6


def store(ch: Client, hour: Hour, comparison: Comparison, repaired: int, run_id: str) -> None:
    """One row a company and one for the whole hour."""
    begin = datetime.fromtimestamp(hour.begin_ms / 1000, UTC)

    def row(company_id: str, state: str, tally: Tally, repaired: int) -> list[object]:
        return [
            *(begin, company_id, state, tally.streamed, tally.stored, tally.dead_letters),
            *(tally.missing, tally.pending, tally.duplicates, tally.unexpected, repaired),
            *(tally.missing_seqs, tally.unexpected_ids, run_id),
        ]

    rows = [row(WHOLE_HOUR, comparison.state, comparison.total, repaired)]
    for company_id, tally in sorted(comparison.tallies.items()):
        state = Comparison({company_id: tally}).state
        rows.append(row(company_id, state, tally, 0))
    ch.insert(TABLE_RECONCILIATIONS, rows, COLUMNS)


def read_states(ch: Client, since: datetime) -> dict[datetime, str]:
    """The latest state of each hour that was checked, from `since` on."""
    found = ch.query(statement("clickhouse/select_reconciled_hours"), parameters={"since": since})
    return {hour.replace(tzinfo=UTC): str(state) for hour, state in found.result_rows}


def due_hours(states: dict[datetime, str], closed: datetime) -> list[datetime]:
    """Hours to check now, oldest first: the one just closed, and earlier ones left open.

    Left open are hours between the first that was checked and now that no check has reached, and
    those whose events waited for the sink. An unbalanced hour is for a person, or for the repair.
    """
    due = [closed]
    hour = min(states, default=closed)
    while hour < closed:
        if states.get(hour, "pending") == "pending":
            due.append(hour)
        hour += timedelta(hours=1)
    return sorted(due)[-DUE_AT_ONCE:]
