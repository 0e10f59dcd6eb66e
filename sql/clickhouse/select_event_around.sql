-- Called by the sidecar to learn whether the sink was storing at a time. Leans on the partitions
-- (days of received_at): it stops at the first row that it finds.
SELECT count()
FROM (
    SELECT 1
    FROM events
    WHERE received_at >= fromUnixTimestamp64Milli({from_ms:Int64})
      AND received_at <= fromUnixTimestamp64Milli({upto_ms:Int64})
    LIMIT 1
)
