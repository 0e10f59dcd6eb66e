-- Called by pipelines cohorts.membership; leans on cohort_changes_xid_idx. Changed cohorts and
-- memberships name a cohort to evaluate whole, changed users a user to look at in their company.
SELECT DISTINCT company_id, cohort_id, CASE WHEN source = 'users' THEN user_id END AS user_id
FROM cohort_changes
WHERE xid >= pg_snapshot_xmin(%(snapshot)s::pg_snapshot)
  AND NOT pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot)
  AND xid IS DISTINCT FROM (SELECT own_xid FROM cohort_watermarks WHERE reader = 'membership');
