-- Called by pipelines cohorts.resync and cohorts.parity: a scan of both tables, on purpose.
SELECT company_id, sum(cohorts)::bigint, sum(members)::bigint
FROM (
    SELECT company_id, count(*) AS cohorts, 0 AS members FROM cohorts GROUP BY company_id
    UNION ALL
    SELECT company_id, 0, count(*) FROM user_cohorts GROUP BY company_id
) AS counted
GROUP BY company_id;
