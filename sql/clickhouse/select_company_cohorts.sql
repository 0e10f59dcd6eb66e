-- Called by pipelines cohorts.comparison; the key (company_id, …).
SELECT
    cohort_id, company_id, name, description, filters,
    toUnixTimestamp64Milli(created_at), toUnixTimestamp64Milli(updated_at)
FROM cohorts FINAL
WHERE company_id IN {company_ids:Array(String)}
