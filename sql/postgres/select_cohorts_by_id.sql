-- Called by the cohort API. Leans on the primary key; the company is part of the predicate, so
-- another company's cohort is as unknown as one that does not exist.
SELECT id::text, name
FROM cohorts
WHERE id = ANY (%(cohort_ids)s::uuid[]) AND company_id = %(company_id)s;
