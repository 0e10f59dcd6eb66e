"""Contents: views of ClickHouse that no run makes, so that the graph is whole."""

import dagster as dg

OWNERS = ["team:analytics"]
DATABASE = "teei_analytics"


def written_elsewhere(
    name: str, description: str, made_from: list[str], kinds: set[str]
) -> dg.AssetSpec:
    """A view that computes at read time."""
    return dg.AssetSpec(
        name,
        deps=[dg.AssetKey(key.split("/")) for key in made_from],
        description=description,
        group_name="warehouse",
        owners=OWNERS,
        kinds=kinds,
        metadata={"dagster/table_name": f"{DATABASE}.{name}"},
    )


tables = [
    written_elsewhere(
        "cohort_metrics_mv",
        "Figures of a cohort, metric and period, a user counting once. Computed at read time, so "
        "that late events, late members and removed members are always in it.",
        ["metrics_timeseries", "user_cohorts"],
        {"clickhouse", "view"},
    ),
    written_elsewhere(
        "daily_event_counts_mv",
        "Events and different users a company, type and day. Computed at read time.",
        ["events"],
        {"clickhouse", "view"},
    ),
    written_elsewhere(
        "hourly_metrics_mv",
        "Mean, least and greatest value a company, metric and hour. Computed at read time.",
        ["metrics_timeseries"],
        {"clickhouse", "view"},
    ),
]

flow = dg.Definitions(assets=tables)
