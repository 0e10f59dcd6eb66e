-- Called by pipelines cohorts.sync; leans on cohort_changes_xid_idx and the key of cohorts.
-- One row a cohort that changed since the watermark, all NULL after the key where it is gone.
SELECT
    changed.company_id, changed.cohort_id::text, cohorts.name, coalesce(cohorts.description, ''),
    warehouse_json(cohorts.filters), warehouse_milliseconds(cohorts.created_at),
    warehouse_milliseconds(cohorts.updated_at)
FROM (
    SELECT DISTINCT company_id, cohort_id
    FROM cohort_changes
    WHERE source = 'cohorts' AND xid >= pg_snapshot_xmin(%(snapshot)s::pg_snapshot)
      AND NOT pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot)
) AS changed
LEFT JOIN cohorts
    ON cohorts.id = changed.cohort_id AND cohorts.company_id = changed.company_id
ORDER BY changed.company_id, changed.cohort_id;
