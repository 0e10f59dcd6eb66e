-- Called by pipelines cohorts.parity; leans on cohort_changes_xid_idx. Of the given keys those with a
-- change that is not in the watermark; user_id is '' for cohorts. As text, since a key that
-- somebody wrote into the warehouse by hand may be no uuid.
SELECT DISTINCT company_id, cohort_id, user_id
FROM unnest(%(company_ids)s::text[], %(cohort_ids)s::text[], %(user_ids)s::text[])
    AS given (company_id, cohort_id, user_id)
JOIN (
    SELECT company_id, cohort_id::text, coalesce(user_id::text, '') AS user_id
    FROM cohort_changes
    WHERE source = %(source)s AND company_id IS NOT NULL
      AND xid >= pg_snapshot_xmin(%(snapshot)s::pg_snapshot)
      AND NOT pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot)
) AS changed USING (company_id, cohort_id, user_id);
