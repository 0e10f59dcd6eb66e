-- Called by cli doctor; leans on cohort_changes_xid_idx. A row a reader of the change log: whether its
-- watermark is of this database, changes that it has yet to take, seconds since it moved.
SELECT
    done.reader,
    done.identity = cohort_change_log_identity() AS known,
    CASE WHEN done.identity = cohort_change_log_identity() THEN (
        SELECT count(*)
        FROM cohort_changes AS changes
        WHERE changes.xid >= pg_snapshot_xmin(done.snapshot)
          AND NOT pg_visible_in_snapshot(changes.xid, done.snapshot)
          AND changes.xid IS DISTINCT FROM done.own_xid
    ) END AS pending,
    extract(epoch FROM clock_timestamp() - done.updated_at)::double precision AS age
FROM cohort_watermarks AS done
ORDER BY done.reader;
