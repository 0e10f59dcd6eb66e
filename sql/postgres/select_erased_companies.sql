-- Called by the sidecar's erased rings every few seconds; erasures_done_idx. A day back, so that an
-- instance that Postgres was away from finds out as well. `reapplied_at` makes a new mark.
SELECT concat_ws('@', erasure_id, coalesce(reapplied_at, done_at)), company_id
FROM erasures
WHERE done_at > now() - interval '1 day'
