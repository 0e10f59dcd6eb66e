-- Called by the cohort sensor every few seconds; leans on cohort_changes_xid_idx. `head` is the last
-- change that a reader has not taken yet, 0 when a reader needs a full resync, NULL when all is done.
SELECT
    CASE
        WHEN (
            SELECT count(*) FROM cohort_watermarks WHERE identity = cohort_change_log_identity()
        ) < 2 THEN 0
        ELSE (
            SELECT max(changes.change_id)
            FROM cohort_watermarks AS done
            JOIN cohort_changes AS changes
                ON changes.xid >= pg_snapshot_xmin(done.snapshot)
                AND NOT pg_visible_in_snapshot(changes.xid, done.snapshot)
                AND changes.xid IS DISTINCT FROM done.own_xid
        )
    END AS head;
