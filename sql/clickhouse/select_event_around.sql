-- Called by the sidecar to learn whether the sink was storing at a time. Leans on the partitions
-- (days of received_at): it stops at the first row that it finds.
SELECT count()
FROM (
    SELECT 1
    FROM events
    WHERE received_at >= fromUnixTimestamp64Milli({from_ms:Int64})
      AND received_at <= fromUnixTimestamp64Milli({upto_ms:Int64})
      AND stream_seq < 4611686018427387904 -- 2^62: imports stand above, and no sink stored them
    LIMIT 1
)
