-- Called by pipelines cohorts.membership; the key of cohort_filter_errors. `since` stays for an error
-- that was there before.
INSERT INTO cohort_filter_errors (cohort_id, company_id, error)
SELECT cohorts.id, cohorts.company_id, failed.error
FROM unnest(%(cohort_ids)s::uuid[], %(errors)s::text[]) AS failed (cohort_id, error)
JOIN cohorts ON cohorts.id = failed.cohort_id
ON CONFLICT (cohort_id) DO UPDATE SET error = excluded.error, since = now()
WHERE cohort_filter_errors.error IS DISTINCT FROM excluded.error;
