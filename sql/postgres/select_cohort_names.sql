-- Called by the cohort API, at most once a second for a company that is asked about. Leans on the
-- unique key (company_id, name) of cohorts.
SELECT id::text, name
FROM cohorts
WHERE company_id = %(company_id)s
ORDER BY name;
