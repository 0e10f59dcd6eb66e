-- Called by the sidecar's replay, a page at a time. Leans on the key (company_id, received_at, …):
-- the time only prunes, the order within one life of the stream is the sequence.
SELECT event_type, stream_seq, toUnixTimestamp64Milli(received_at) AS received_ms, payload
FROM events
WHERE company_id = {company_id:String}
  AND received_at >= fromUnixTimestamp64Milli({from_ms:Int64})
  AND stream_seq > {after:UInt64}
  AND stream_seq <= {upto:UInt64}
ORDER BY stream_seq
LIMIT {page_rows:UInt32}
