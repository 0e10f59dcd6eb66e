-- Called by the check on memberships; reads the whole (short) table.
SELECT errors.cohort_id::text, errors.company_id, cohorts.name, errors.error
FROM cohort_filter_errors AS errors
JOIN cohorts ON cohorts.id = errors.cohort_id
ORDER BY errors.company_id, cohorts.name;
