"""`reconciliations`: each closed hour of the stream against what is stored of it."""

import time

import dagster as dg
from pydantic import Field

from pipelines.databases import Databases
from pipelines.defs.reconciliation.comparison import Tally
from pipelines.defs.reconciliation.hour import Comparison, Hour, compare_hour
from pipelines.defs.reconciliation.repair import repair_hour
from pipelines.defs.reconciliation.results import store
from pipelines.event_stream import EventStreams
from pipelines.runbook import when_it_fails
from pipelines.transient import repeated_if_transient

# The hour that is going on counts as a partition too: after an incident nobody wants to wait for
# its end. The schedule checks closed hours only.
HOURS = dg.HourlyPartitionsDefinition(start_date="2025-01-01-00:00", end_offset=1)
CHECK = "every_event_is_stored_once"
SHOWN_COMPANIES = 50


class ReconciliationConfig(dg.Config):
    repair: bool = Field(
        default=False,
        description="Read what is missing from the stream again and write it, then compare.",
    )


@dg.asset(
    name="reconciliations",
    partitions_def=HOURS,
    deps=[dg.AssetKey(["jetstream", "analytics_events"]), dg.AssetKey("events")],
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset="reconciliations",
            description="Every message of the hour has one row in events or is a dead letter, and "
            "every row has its message. A warning where the hour has left the stream, or where "
            "the sink is not there yet.",
        )
    ],
    description="Sequences of the stream by the hour of their time, compared with events and dead "
    "letters, company by company. A row a check, so that the history can be queried.",
    group_name="reconciliation",
    owners=["team:analytics"],
    metadata={
        "dagster/table_name": "teei_analytics.reconciliations",
        **when_it_fails("operations.md#alert-check"),
    },
    kinds={"clickhouse", "nats"},
    pool="reconciliation",
)
def reconciliations(
    context: dg.AssetExecutionContext,
    config: ReconciliationConfig,
    databases: dg.ResourceParam[Databases],
    event_streams: dg.ResourceParam[EventStreams],
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # beside checks Dagster knows the bare type only
    began = time.monotonic()
    hour = Hour.of(context.partition_time_window.start)
    with repeated_if_transient(), databases.clickhouse() as ch, event_streams.open() as stream:
        repaired = repair_hour(stream, ch, hour) if config.repair else 0
        comparison = compare_hour(stream, ch, hour)
        store(ch, hour, comparison, repaired, context.run.run_id)
    return dg.MaterializeResult(
        metadata={
            **figures(comparison.total),
            "repaired": repaired,
            "state": comparison.state,
            "companies": len(comparison.tallies),
            "by_company": dg.MetadataValue.md(company_table(comparison)),
            "duration_seconds": round(time.monotonic() - began, 3),
        },
        check_results=[judge(comparison)],
    )


def judge(comparison: Comparison) -> dg.AssetCheckResult:
    """Failed where something is wrong, a warning where nobody can say yet or any more."""
    total = comparison.total
    description = {
        "not_checkable": comparison.unchecked or "",
        "pending": f"{total.pending} events wait for the sink; the hour is checked again",
        "balanced": f"{total.streamed} messages, each stored or put aside",
        "unbalanced": f"missing {total.missing} {total.missing_seqs}, "
        f"duplicates {total.duplicates}, unexpected {total.unexpected} {total.unexpected_ids}; "
        "the job repair_missing_events stores what is missing",
    }[comparison.state]
    unbalanced = comparison.state == "unbalanced"
    return dg.AssetCheckResult(
        check_name=CHECK,
        passed=comparison.state == "balanced",
        severity=dg.AssetCheckSeverity.ERROR if unbalanced else dg.AssetCheckSeverity.WARN,
        description=description,
        metadata={
            **figures(total),
            "missing_sequences": total.missing_seqs,
            "unexpected_ids": total.unexpected_ids,
        },
    )


def figures(tally: Tally) -> dict[str, int]:
    """Numbers that the UI plots over the hours."""
    return {
        "streamed": tally.streamed,
        "stored": tally.stored,
        "dead_letters": tally.dead_letters,
        "missing": tally.missing,
        "pending": tally.pending,
        "duplicates": tally.duplicates,
        "unexpected": tally.unexpected,
    }


def company_table(comparison: Comparison) -> str:
    """Markdown, the companies with something wrong first."""
    names = list(figures(Tally()))
    lines = ["| company | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    ordered = sorted(comparison.tallies.items(), key=lambda item: (item[1].balanced, item[0]))
    for company_id, tally in ordered[:SHOWN_COMPANIES]:
        values = " | ".join(str(value) for value in figures(tally).values())
        lines.append(f"| {company_id or '(none)'} | {values} |")
    if len(ordered) > SHOWN_COMPANIES:
        lines.append(f"\n{len(ordered) - SHOWN_COMPANIES} more in the table reconciliations")
    return "\n".join(lines)
