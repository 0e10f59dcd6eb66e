-- Called by benchmarks.cohorts: the cohorts in Postgres, with the ids and companies that
-- insert_members.sql gives their members.
INSERT INTO cohorts (id, company_id, name)
SELECT
    md5('cohort-' || number)::uuid,
    'company-' || trunc(200 * power((number + 0.5) / %(cohorts)s, 2))::int,
    'cohort ' || number
FROM generate_series(0, %(cohorts)s - 1) AS number
RETURNING company_id, id::text
