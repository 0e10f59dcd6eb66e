-- Called by GET /cohort: a page of a company's cohorts. Leans on the unique key (company_id, name),
-- which is the order of the pages, and on the keys that begin with the cohort.
SELECT
    cohorts.id::text, cohorts.company_id, cohorts.name, cohorts.description, cohorts.filters,
    cohorts.created_at, cohorts.updated_at, cohorts.created_by,
    (SELECT count(*) FROM user_cohorts AS members WHERE members.cohort_id = cohorts.id),
    (SELECT error FROM cohort_filter_errors AS errors WHERE errors.cohort_id = cohorts.id)
FROM cohorts
WHERE cohorts.company_id = %(company_id)s AND cohorts.name > %(after)s
ORDER BY cohorts.name
LIMIT %(row_limit)s;
