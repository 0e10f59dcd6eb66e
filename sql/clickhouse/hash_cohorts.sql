-- Called by pipelines cohorts.comparison: a scan of cohorts, on purpose. The same line a row and the same
-- hash as the statement of this name for Postgres.
SELECT company_id, count(), groupBitXor(reinterpretAsInt64(reverse(substring(MD5(concat(
    cohort_id, '/', company_id, '/', toString(toUnixTimestamp64Milli(created_at)), '/',
    toString(toUnixTimestamp64Milli(updated_at)), '/',
    toString(length(name)), '/', toString(length(description)), '/',
    name, '/', description, '/', filters)), 1, 8))))
FROM cohorts FINAL
WHERE empty({company_ids:Array(String)}) OR company_id IN {company_ids:Array(String)}
GROUP BY company_id
