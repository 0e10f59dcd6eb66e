-- Called by pipelines retention.ledger after an erasure or a re-application; the key erasure_id.
UPDATE erasures SET
    done_at = now(),
    reapplied_at = CASE WHEN done_at IS NULL THEN NULL ELSE now() END,
    counts = CASE WHEN done_at IS NULL THEN %(counts)s::jsonb ELSE counts END,
    duration_seconds = coalesce(duration_seconds, %(duration_seconds)s)
WHERE erasure_id = %(erasure_id)s
