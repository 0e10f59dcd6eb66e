-- Called by the sidecar when a resume point can't be honoured: the oldest one that could be.
-- Leans on the key (company_id, received_at, …).
SELECT event_id
FROM events
WHERE company_id = {company_id:String}
  AND received_at >= fromUnixTimestamp64Milli({from_ms:Int64})
  AND stream_seq > {after:UInt64}
  AND stream_seq < 4611686018427387904 -- 2^62: imports stand above, and are no place in a stream
ORDER BY received_at, stream_seq
LIMIT 1
