"""Postgres believes that a table is empty which has just been filled: nothing may become quadratic.

So it is after many deletes, until the next ANALYZE: a plan for an empty table reads all of it.
"""

import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from pipelines.defs.cohorts.change_log import read_checkpoint
from pipelines.defs.cohorts.sync import sync_cohorts
from sql import statement
from tests.live.pipelines.population import (
    platform_state,
    warehouse_state,
)

MEMBERS = 20 * 32 * 32
ADD_MEMBERS = (
    "INSERT INTO user_cohorts (user_id, cohort_id, company_id, joined_by)"
    " SELECT users.id, cohorts.id, company_id, 'ann' FROM users JOIN cohorts USING (company_id)"
)
READ = (
    "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables"
    " WHERE relname = 'user_cohorts'"
)


@pytest.mark.parametrize("command", ["ANALYZE", "VACUUM ANALYZE"])
def test_members_of_an_emptied_table_are_added_and_synced_by_key(
    command: str,
    pg: psycopg.Connection,
    ch: Client,
    pipeline_pg: psycopg.Connection,
    pipeline_ch: Client,
) -> None:
    # Nobody else's ANALYZE comes to help.
    pg.execute("ALTER TABLE user_cohorts SET (autovacuum_enabled = false)")
    for table in ("users (company_id)", "cohorts (company_id, name)"):
        pg.execute(
            f"INSERT INTO {table} SELECT 'company-' || company {', number' * ('name' in table)}"
            " FROM generate_series(1, 20) AS company, generate_series(1, 32) AS number"
        )
    pg.execute(ADD_MEMBERS)
    sync_cohorts(pipeline_pg, pipeline_ch)
    pg.execute("DELETE FROM user_cohorts")
    pg.execute(f"{command} user_cohorts")

    with pg.transaction():
        pg.execute(ADD_MEMBERS)
        [(read,)] = pg.execute(READ).fetchall()
    assert read <= MEMBERS, "each row's trigger looks up one key"

    pg.execute("ANALYZE cohort_changes, cohorts")
    done = read_checkpoint(ch)
    assert done is not None
    plan = [
        str(line).strip()
        for (line,) in pg.execute(
            f"EXPLAIN {statement('postgres/select_changed_members')}", {"snapshot": done.snapshot}
        )
    ]
    [place] = [number for number, line in enumerate(plan) if " on user_cohorts" in line]
    # The whole index, read once and kept for a join without a key, has no condition.
    assert any("Index Cond: " in line for line in plan[place + 1 : place + 2]), plan
    sync_cohorts(pipeline_pg, pipeline_ch)
    assert warehouse_state(ch) == platform_state(pg)
