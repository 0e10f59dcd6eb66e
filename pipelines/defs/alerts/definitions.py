"""Contents of the alerts' flow."""

import dagster as dg

from pipelines.defs.alerts.sensor import alerts_sensor
from pipelines.defs.materialized_views.assets import VIEWS

alerts = dg.AssetSpec(
    "alerts",
    deps=["reconciliations", "dead_letters", *VIEWS],
    description="What is wrong and who was told: one row an occurrence, in Postgres. Kept by "
    "alerts_sensor, which looks at these assets, at every run, check and freshness policy, at the "
    "sink and at the sidecar; listed by `analytics alert list`.",
    group_name="alerts",
    owners=["team:analytics"],
    kinds={"postgres"},
    metadata={"dagster/table_name": "teei_platform.public.alerts"},
)

flow = dg.Definitions(assets=[alerts], sensors=[alerts_sensor])
