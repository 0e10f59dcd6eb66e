-- Called by pipelines cohorts.parity; leans on cohort_changes_xid_idx. Companies with changes that
-- are not in the watermark: their difference is work to do, not drift.
SELECT DISTINCT company_id
FROM cohort_changes
WHERE source IN ('cohorts', 'user_cohorts') AND company_id IS NOT NULL
  AND xid >= pg_snapshot_xmin(%(snapshot)s::pg_snapshot)
  AND NOT pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot);
