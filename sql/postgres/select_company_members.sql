-- Called by pipelines cohorts.resync; leans on user_cohorts_company_idx.
SELECT user_id::text, cohort_id::text, company_id, warehouse_milliseconds(joined_at)
FROM user_cohorts
WHERE company_id = ANY (%(company_ids)s::text[]);
