-- Called by pipelines cohorts.comparison; the key (company_id, cohort_id, …).
SELECT user_id, cohort_id, company_id, toUnixTimestamp64Milli(joined_at)
FROM user_cohorts FINAL
WHERE company_id IN {company_ids:Array(String)} AND cohort_id IN {cohort_ids:Array(String)}
