-- Called by pipelines retention.ledger; the whole ledger in order, or one erasure by its key.
SELECT erasure_id::text, kind, company_id, user_id, erased_at, requested_by, run_id
FROM erasures
WHERE %(erasure_id)s::uuid IS NULL OR erasure_id = %(erasure_id)s::uuid
ORDER BY erased_at, erasure_id
