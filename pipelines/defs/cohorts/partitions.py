"""Companies as partitions, so that a resync of one, some or all is a backfill with its progress."""

import dagster as dg
import psycopg

from sql import statement

NAME = "cohort_companies"
COMPANIES = dg.DynamicPartitionsDefinition(name=NAME)


def keep_partitions(instance: dg.DagsterInstance, pg: psycopg.Connection) -> None:
    """Make the partitions the companies that have a cohort in Postgres."""
    known = set(instance.get_dynamic_partitions(NAME))
    wanted = {str(row[0]) for row in pg.execute(statement("postgres/select_cohort_companies"))}
    if new := sorted(wanted - known):
        instance.add_dynamic_partitions(NAME, new)
    for gone in sorted(known - wanted):
        instance.delete_dynamic_partition(NAME, gone)
