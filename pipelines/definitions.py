"""Table of contents: every flow, and what all of them share.

alerts: what is wrong anywhere, told to a webhook; looked for every 30 seconds.
backups: of both databases every night, and the drill that restores one; every Sunday.
cohorts: memberships by filters, cohorts and members in ClickHouse; seconds after a change.
dead_letters: how many wait for a decision, watched every minute.
instance: old runs are deleted from Dagster's own storage; every night.
materialized_views: the four dashboards of Postgres; every 5 minutes or by a cadence of their own.
partitions: stock of each day of `events`, every hour; metric rows made again, by backfill.
reconciliation: each closed hour of the stream against what is stored of it, and its repair.
retention: what is past its policy, shown and taken out, every night; erasures and their ledger.
warehouse: views of ClickHouse that no run makes.
"""

import dagster as dg

from pipelines.databases import Databases, environment_settings
from pipelines.defs.alerts import definitions as alerts
from pipelines.defs.backups import definitions as backups
from pipelines.defs.cohorts import definitions as cohorts
from pipelines.defs.dead_letters import definitions as dead_letters
from pipelines.defs.instance import definitions as instance
from pipelines.defs.materialized_views import definitions as materialized_views
from pipelines.defs.partitions import definitions as partitions
from pipelines.defs.reconciliation import definitions as reconciliation
from pipelines.defs.retention import definitions as retention
from pipelines.defs.warehouse import definitions as warehouse
from pipelines.event_stream import EventStreams

defs = dg.Definitions.merge(
    alerts.flow,
    backups.flow,
    cohorts.flow,
    dead_letters.flow,
    instance.flow,
    materialized_views.flow,
    partitions.flow,
    reconciliation.flow,
    retention.flow,
    warehouse.flow,
    dg.Definitions(
        resources={
            "databases": Databases(),
            "event_streams": EventStreams(),
            "read_settings": environment_settings,
        },
        # A process a step would cost seconds a step; the work of the flows is in the databases.
        executor=dg.in_process_executor,
    ),
)
