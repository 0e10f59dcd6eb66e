-- Called by pipelines reconciliation.compare, a range of sequences at a time. The times prune parts
-- and partitions; FINAL shows what readers see. Imports stand above every sequence that is asked for.
SELECT
    stream_seq,
    toUnixTimestamp64Milli(received_at) AS received_ms,
    company_id,
    event_id
FROM events FINAL
WHERE received_at >= fromUnixTimestamp64Milli({from_ms:Int64})
  AND received_at <= fromUnixTimestamp64Milli({upto_ms:Int64})
  AND stream_seq >= {from_seq:UInt64}
  AND stream_seq <= {upto_seq:UInt64}
