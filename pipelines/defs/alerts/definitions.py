"""Contents of the alerts' flow."""

import dagster as dg

from pipelines.defs.alerts.sensor import alerts_sensor

alerts = dg.AssetSpec(
    "alerts",
    description="What is wrong and who was told: one row an occurrence, in Postgres. Kept by "
    "alerts_sensor; listed by `analytics alert list`.",
    group_name="alerts",
    owners=["team:analytics"],
    kinds={"postgres"},
    metadata={"dagster/table_name": "teei_platform.public.alerts"},
)

flow = dg.Definitions(assets=[alerts], sensors=[alerts_sensor])
