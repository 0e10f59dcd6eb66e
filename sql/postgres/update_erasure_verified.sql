-- Called by pipelines retention.ledger after a look at all stores; the key erasure_id.
UPDATE erasures SET
    left_over = %(left_over)s::jsonb,
    verified_at = CASE WHEN %(left_over)s::jsonb = '{}' THEN now() ELSE NULL END
WHERE erasure_id = %(erasure_id)s
