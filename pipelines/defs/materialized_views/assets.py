"""An asset a materialised view, and the tables of the platform that they are made from."""

from collections.abc import Mapping

import dagster as dg

from pipelines.databases import Databases
from pipelines.defs.materialized_views.cadence import Cadence, declared_cadences
from pipelines.defs.materialized_views.columns import table_schema
from pipelines.defs.materialized_views.refresh import refresh_view
from pipelines.runbook import when_it_fails
from pipelines.transient import repeated_if_transient

GROUP = "materialized_views"
OWNERS = ["team:analytics"]
POOL = "materialized_views"

# View → its source and what it shows; the formulas stand in the migration that creates it.
VIEWS = {
    "company_dashboard_mv": (
        "metrics_company_period",
        "One row a company: participants, scores weighted by participants, matches.",
    ),
    "program_performance_mv": (
        "metrics_program_period",
        "One row a company and program: participants, match quality, milestones.",
    ),
    "language_group_performance_mv": (
        "metrics_language_period",
        "One row a company and language group: participants, integration, bridges.",
    ),
    "journey_stage_distribution_mv": (
        "user_journeys",
        "One row a company and journey stage: users in it now, and for how long on average.",
    ),
}

source_tables = [
    dg.AssetSpec(
        ["platform", source],
        description="Table of the platform in Postgres; written by the platform, read only here.",
        group_name=GROUP,
        owners=OWNERS,
        metadata={"dagster/table_name": f"teei_platform.public.{source}"},
        kinds={"postgres"},
    )
    for source, _ in VIEWS.values()
]


def materialized_view(
    view: str, source: str, description: str, cadence: Cadence
) -> dg.AssetsDefinition:
    """The asset that refreshes `view`; `cadence` is what its freshness is judged by."""

    @dg.asset(
        name=view,
        deps=[dg.AssetKey(["platform", source])],
        description=f"{description} Refreshed concurrently: its readers never wait.",
        group_name=GROUP,
        owners=OWNERS,
        kinds={"postgres", "view"},
        metadata={
            "dagster/table_name": f"teei_platform.public.{view}",
            "run_log": "SELECT * FROM analytics_mv_refreshes ORDER BY refresh_id DESC",
            "freshness": "SELECT * FROM analytics_mv_freshness",
            "cadence": str(cadence),
            "cadences": "SELECT * FROM analytics_mvs",
            **when_it_fails("operations.md#alert-view"),
        },
        freshness_policy=dg.FreshnessPolicy.time_window(
            fail_window=cadence.late_after, warn_window=cadence.warned_after
        ),
        pool=POOL,
    )
    def refresh(
        context: dg.AssetExecutionContext, databases: dg.ResourceParam[Databases]
    ) -> dg.MaterializeResult[None]:
        with repeated_if_transient(), databases.postgres() as pg:
            outcome = refresh_view(pg, view, f"dagster run {context.run.run_id}")
            schema = table_schema(pg, view)
        if outcome.error is not None:
            raise dg.Failure(
                f"{view} was not refreshed: {outcome.error}",
                metadata={"duration_seconds": outcome.duration_seconds},
                # The next schedule is five minutes away, and what failed here is rarely transient.
                allow_retries=False,
            )
        return dg.MaterializeResult(
            metadata={
                "rows": outcome.rows,
                "dagster/row_count": outcome.rows,
                "duration_seconds": outcome.duration_seconds,
                "readers_blocked": outcome.readers_blocked,
                "watermark": outcome.source_mark,
                "dagster/column_schema": schema,
            }
        )

    return refresh


def view_assets(cadences: Mapping[str, Cadence]) -> list[dg.AssetsDefinition]:
    """An asset a view; one whose cadence is not known has that of a fresh installation."""
    return [
        materialized_view(view, source, description, cadences.get(view, Cadence()))
        for view, (source, description) in VIEWS.items()
    ]


materialized_views = view_assets(declared_cadences())
