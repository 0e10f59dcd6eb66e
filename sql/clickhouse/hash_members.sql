-- Called by pipelines cohorts.comparison: a scan of user_cohorts, on purpose. The same line a row and the
-- same hash as the statement of this name for Postgres.
SELECT company_id, cohort_id, count(), groupBitXor(reinterpretAsInt64(reverse(substring(MD5(concat(
    user_id, '/', cohort_id, '/', company_id, '/', toString(toUnixTimestamp64Milli(joined_at))
    )), 1, 8))))
FROM user_cohorts FINAL
WHERE empty({company_ids:Array(String)}) OR company_id IN {company_ids:Array(String)}
GROUP BY company_id, cohort_id
