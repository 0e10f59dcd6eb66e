-- Called by pipelines cohorts.change_log, first in its transaction; no table but the one-row
-- cohort_changes_pruned, and cohort_changes_xid_idx past the watermark's xmin.
-- `resync_reason` says why a reader at this watermark can't go by the log, NULL when it can.
WITH given AS (
    SELECT %(identity)s::text AS identity, %(snapshot)s::pg_snapshot AS snapshot
)
SELECT
    cohort_change_log_identity() AS identity,
    pg_current_snapshot()::text AS snapshot,
    CASE
        WHEN given.snapshot IS NULL THEN 'no watermark'
        WHEN given.identity IS DISTINCT FROM cohort_change_log_identity()
            THEN 'the watermark is of another database: ' || coalesce(given.identity, 'unnamed')
        WHEN pg_snapshot_xmax(given.snapshot) > pg_snapshot_xmax(pg_current_snapshot())
            THEN 'the watermark is ahead of the database'
        WHEN (SELECT before_xid FROM cohort_changes_pruned) > pg_snapshot_xmin(given.snapshot)
            THEN 'the change log is pruned past the watermark'
        WHEN EXISTS (
            SELECT FROM cohort_changes AS changes
            WHERE changes.xid >= pg_snapshot_xmin(given.snapshot)
              AND NOT pg_visible_in_snapshot(changes.xid, given.snapshot)
              AND changes.cohort_id IS NULL AND changes.user_id IS NULL
        ) THEN 'a table was truncated'
    END AS resync_reason,
    given.snapshot IS NULL OR EXISTS (
        SELECT FROM cohort_changes AS changes
        WHERE changes.xid >= pg_snapshot_xmin(given.snapshot)
          AND NOT pg_visible_in_snapshot(changes.xid, given.snapshot)
    ) AS has_changes
FROM given;
