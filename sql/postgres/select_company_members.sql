-- Called by pipelines cohorts.comparison; leans on the key (cohort_id, user_id).
SELECT user_id::text, cohort_id::text, company_id, warehouse_milliseconds(joined_at)
FROM user_cohorts
WHERE cohort_id = ANY (%(cohort_ids)s::uuid[]);
