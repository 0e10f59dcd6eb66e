-- Called by pipelines retention.ledger before the first row is deleted; the key erasure_id. One that is
-- known already, from a copy of the ledger, is left as it is.
INSERT INTO erasures (erasure_id, kind, company_id, user_id, erased_at, requested_by, run_id)
VALUES (%(erasure_id)s, %(kind)s, %(company_id)s, %(user_id)s, %(erased_at)s, %(requested_by)s,
        %(run_id)s)
ON CONFLICT (erasure_id) DO NOTHING
