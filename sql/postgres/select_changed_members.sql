-- Called by pipelines cohorts.sync through a cursor; leans on cohort_changes_xid_idx and the keys of
-- user_cohorts and cohorts. One row a membership that changed since the watermark, joined_at NULL
-- where it is gone. Memberships of a cohort that is gone itself are left out: they go by one
-- predicate on the cohort. Members are looked up by key, one by one: where statistics still say that
-- the table is empty, a join of sets read all of it for each change. The key is the primary one, since
-- a membership's company is its cohort's.
SELECT
    changed.user_id::text, changed.cohort_id::text, changed.company_id,
    warehouse_milliseconds(member.joined_at)
FROM (
    SELECT DISTINCT company_id, cohort_id, user_id
    FROM cohort_changes
    WHERE source = 'user_cohorts' AND xid >= pg_snapshot_xmin(%(snapshot)s::pg_snapshot)
      AND NOT pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot)
) AS changed
JOIN cohorts ON cohorts.id = changed.cohort_id AND cohorts.company_id = changed.company_id
LEFT JOIN LATERAL (
    SELECT joined_at FROM user_cohorts
    WHERE cohort_id = changed.cohort_id AND user_id = changed.user_id
    LIMIT 1
) AS member ON true;
