"""Table of contents: every flow, and what all of them share.

cohorts: memberships by filters, cohorts and members in ClickHouse; seconds after a change.
dead_letters: how many wait for a decision, watched every minute.
materialized_views: the four dashboards of Postgres; every 5 minutes.
partitions: stock of each day of `events`, every hour; metric rows made again, by backfill.
reconciliation: each closed hour of the stream against what is stored of it, and its repair.
retention: what is past its policy, shown and taken out, every night; erasures and their ledger.
"""

import dagster as dg

from pipelines.databases import Databases
from pipelines.defs.cohorts import definitions as cohorts
from pipelines.defs.dead_letters import definitions as dead_letters
from pipelines.defs.materialized_views import definitions as materialized_views
from pipelines.defs.partitions import definitions as partitions
from pipelines.defs.reconciliation import definitions as reconciliation
from pipelines.defs.retention import definitions as retention
from pipelines.event_stream import EventStreams

defs = dg.Definitions.merge(
    cohorts.flow,
    dead_letters.flow,
    materialized_views.flow,
    partitions.flow,
    reconciliation.flow,
    retention.flow,
    dg.Definitions(
        resources={"databases": Databases(), "event_streams": EventStreams()},
        # A process a step would cost seconds a step; the work of the flows is in the databases.
        executor=dg.in_process_executor,
    ),
)
