-- Called by pipelines cohorts.membership; leans on the key of cohorts and on (company_id, name).
-- All cohorts, or those that are named or belong to one of the companies.
SELECT id, company_id, filters
FROM cohorts
WHERE %(every)s OR id = ANY (%(cohort_ids)s::uuid[]) OR company_id = ANY (%(company_ids)s::text[])
ORDER BY id;
