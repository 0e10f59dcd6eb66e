-- Called by the sidecar to check a resume point that has left the stream. Leans on the whole key.
SELECT count()
FROM events
WHERE company_id = {company_id:String}
  AND received_at = fromUnixTimestamp64Milli({received_ms:Int64})
  AND stream_seq = {seq:UInt64}
  AND event_id = {event_id:String}
