-- Called by pipelines cohorts.sync through a cursor; leans on cohort_changes_xid_idx and the keys of
-- user_cohorts and cohorts. One row a membership that changed since the watermark, joined_at NULL
-- where it is gone. Memberships of a cohort that is gone itself are left out: they go by one
-- predicate on the cohort. The join names the primary key alone: a membership's company is its
-- cohort's, and with the company too, a million new rows without statistics took the company's index.
SELECT
    changed.user_id::text, changed.cohort_id::text, changed.company_id,
    warehouse_milliseconds(members.joined_at)
FROM (
    SELECT DISTINCT company_id, cohort_id, user_id
    FROM cohort_changes
    WHERE source = 'user_cohorts' AND xid >= pg_snapshot_xmin(%(snapshot)s::pg_snapshot)
      AND NOT pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot)
) AS changed
JOIN cohorts ON cohorts.id = changed.cohort_id AND cohorts.company_id = changed.company_id
LEFT JOIN user_cohorts AS members
    ON members.cohort_id = changed.cohort_id AND members.user_id = changed.user_id;
