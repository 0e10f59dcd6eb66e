"""Table of contents: every flow, and what all of them share.

cohorts: memberships by filters, cohorts and members in ClickHouse; seconds after a change.
materialized_views: the four dashboards of Postgres; every 5 minutes.
partitions: stock of each day of `events`; every hour, and by backfill.
"""

import dagster as dg

from pipelines.databases import Databases
from pipelines.defs.cohorts import definitions as cohorts
from pipelines.defs.materialized_views import definitions as materialized_views
from pipelines.defs.partitions import definitions as partitions

defs = dg.Definitions.merge(
    cohorts.flow,
    materialized_views.flow,
    partitions.flow,
    dg.Definitions(
        resources={"databases": Databases()},
        # A process a step would cost seconds a step; the work of the flows is in the databases.
        executor=dg.in_process_executor,
    ),
)
