"""The setup guide's SQL for cohorts, as written there but for the ids."""

import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from pipelines.defs.cohorts.membership import evaluate_memberships
from pipelines.defs.cohorts.sync import sync_cohorts
from tests.live.pipelines.population import (
    add_users,
    members_of,
    platform_state,
    warehouse_state,
)

CREATE = """
INSERT INTO cohorts (company_id, name, description, filters)
VALUES (
  'your-company-id',
  'Ukrainian Mentorship Program',
  'Participants in Ukrainian mentorship program',
  '{"language": "uk", "program": "mentorship"}'::jsonb
)
RETURNING id;
"""
ADD_USERS = """
INSERT INTO user_cohorts (user_id, cohort_id, company_id)
SELECT
  u.id,
  'cohort-id-from-above',
  'your-company-id'
FROM users u
WHERE u.company_id = 'your-company-id'
  AND u.language = 'uk';
"""


@pytest.mark.parametrize("evaluated_between", [False, True])
def test_a_cohort_is_created_filled_and_synced(
    evaluated_between: bool,
    pg: psycopg.Connection,
    ch: Client,
    pipeline_pg: psycopg.Connection,
    pipeline_ch: Client,
) -> None:
    """Also when the evaluator, which runs within seconds, was there before the second statement."""
    matching = add_users(pg, "your-company-id", 2, language="uk", program="mentorship")
    speaking = add_users(pg, "your-company-id", 3, language="uk", program="buddy")
    add_users(pg, "your-company-id", 1, language="de", program="mentorship")

    [(cohort,)] = pg.execute(CREATE).fetchall()
    if evaluated_between:
        evaluate_memberships(pipeline_pg)
        assert set(members_of(pg, cohort)) == set(matching)
    added = pg.execute(ADD_USERS.replace("cohort-id-from-above", str(cohort)).encode())
    assert added.rowcount == 5
    evaluate_memberships(pipeline_pg)
    sync_cohorts(pipeline_pg, pipeline_ch)

    assert members_of(pg, cohort) == dict.fromkeys([*matching, *speaking])
    assert warehouse_state(ch) == platform_state(pg)
    [row] = ch.query("SELECT name, description, filters FROM cohorts").result_rows
    assert row == (
        "Ukrainian Mentorship Program",
        "Participants in Ukrainian mentorship program",
        '{"program":"mentorship","language":"uk"}',
    )
