-- Called by GET, POST and PATCH of a cohort. Leans on the primary key; the company is part of the
-- predicate, so another company's cohort is as unknown as one that does not exist.
SELECT
    cohorts.id::text, cohorts.company_id, cohorts.name, cohorts.description, cohorts.filters,
    cohorts.created_at, cohorts.updated_at, cohorts.created_by,
    (SELECT count(*) FROM user_cohorts AS members WHERE members.cohort_id = cohorts.id),
    (SELECT error FROM cohort_filter_errors AS errors WHERE errors.cohort_id = cohorts.id)
FROM cohorts
WHERE cohorts.id = %(cohort_id)s AND cohorts.company_id = %(company_id)s;
