-- Called by pipelines cohorts.resync and cohorts.parity: a scan of both tables, on purpose.
SELECT company_id, sum(cohort_rows), sum(member_rows)
FROM (
    SELECT company_id, count() AS cohort_rows, 0 AS member_rows
    FROM cohorts FINAL GROUP BY company_id
    UNION ALL
    SELECT company_id, 0, count() FROM user_cohorts FINAL GROUP BY company_id
)
GROUP BY company_id
