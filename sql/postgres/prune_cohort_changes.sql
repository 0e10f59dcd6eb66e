-- Called by pipelines cohorts.change_log after a sync; leans on cohort_changes_xid_idx. Takes what
-- both readers are past, and rows with numbers that are not given out yet: they came with a dump
-- from another cluster, and the full resync that its identity asks for has covered them.
WITH horizon AS (
    SELECT min(pg_snapshot_xmin(snapshot)) AS xid
    FROM cohort_watermarks
    WHERE identity = cohort_change_log_identity()
    HAVING count(*) = 2
), marked AS (
    UPDATE cohort_changes_pruned SET before_xid = horizon.xid
    FROM horizon
    WHERE cohort_changes_pruned.before_xid IS DISTINCT FROM horizon.xid
), pruned AS (
    DELETE FROM cohort_changes USING horizon
    WHERE cohort_changes.xid < horizon.xid
       OR cohort_changes.xid >= pg_snapshot_xmax(pg_current_snapshot())
    RETURNING 1
)
SELECT count(*) FROM pruned;
