-- Called by the sidecar's proofs: the rows of one event as they lie on disk, so without FINAL: one
-- delivered twice has two until a merge. Leans on the whole key.
SELECT event_type, payload, stream_seq, toUnixTimestamp64Milli(received_at) AS received_ms
FROM events
WHERE company_id = {company_id:String}
  AND received_at = fromUnixTimestamp64Milli({received_ms:Int64})
  AND stream_seq = {seq:UInt64}
  AND event_id = {event_id:String}
LIMIT 100
SETTINGS final = 0
