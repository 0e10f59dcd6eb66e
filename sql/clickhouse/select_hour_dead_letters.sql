-- Called by pipelines reconciliation.compare beside select_hour_events, and by stream_rows. Leans on
-- the key (received_at, stream_seq).
SELECT dead_letter_id
FROM dead_letters FINAL
WHERE received_at >= fromUnixTimestamp64Milli({from_ms:Int64})
  AND received_at <= fromUnixTimestamp64Milli({upto_ms:Int64})
  AND stream_seq >= {from_seq:UInt64}
  AND stream_seq <= {upto_seq:UInt64}
