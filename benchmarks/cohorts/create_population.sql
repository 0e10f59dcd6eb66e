-- Run by benchmarks.cohorts.sync: 200 companies of 1,000 users and 5 cohorts, and in `everybody`
-- the million memberships there can be, numbered at random.
INSERT INTO users (company_id)
SELECT 'company-' || company FROM generate_series(1, 200) AS company, generate_series(1, 1000);

INSERT INTO cohorts (company_id, name)
SELECT 'company-' || company, 'cohort ' || cohort
FROM generate_series(1, 200) AS company, generate_series(1, 5) AS cohort;

CREATE TEMPORARY TABLE everybody AS
SELECT
    users.id AS user_id, cohorts.id AS cohort_id, company_id,
    row_number() OVER (ORDER BY random()) AS number
FROM users JOIN cohorts USING (company_id);

ANALYZE everybody;
