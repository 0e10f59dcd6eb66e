-- Called by the sidecar when messages have left the stream that it did not see stored: how many of
-- a range are in either table. Leans on the partitions; a range is that of an outage.
SELECT uniqExact(stream_seq)
FROM (
    SELECT stream_seq
    FROM events
    WHERE received_at >= fromUnixTimestamp64Milli({from_ms:Int64})
      AND stream_seq > {after:UInt64}
      AND stream_seq < {before:UInt64}
    UNION ALL
    SELECT stream_seq
    FROM dead_letters
    WHERE received_at >= fromUnixTimestamp64Milli({from_ms:Int64})
      AND stream_seq > {after:UInt64}
      AND stream_seq < {before:UInt64}
)
