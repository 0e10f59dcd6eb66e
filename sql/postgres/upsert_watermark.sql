-- Called by pipelines cohorts.change_log; the key of cohort_watermarks. `own_xid` is kept for the
-- evaluator, which writes memberships in the transaction that moves its watermark.
INSERT INTO cohort_watermarks (reader, identity, snapshot, own_xid, updated_at)
VALUES (
    %(reader)s, %(identity)s, %(snapshot)s::pg_snapshot,
    CASE WHEN %(reader)s = 'membership' THEN pg_current_xact_id() END, now()
)
ON CONFLICT (reader) DO UPDATE
SET identity = excluded.identity, snapshot = excluded.snapshot, own_xid = excluded.own_xid,
    updated_at = excluded.updated_at;
