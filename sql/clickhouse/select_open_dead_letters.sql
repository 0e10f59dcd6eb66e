-- Called by the sidecar's letter box for what is to be replayed or discarded, the oldest first; no
-- ids and no reason mean all. Leans on the key (received_at, stream_seq) of both tables.
SELECT
    letters.dead_letter_id,
    toUnixTimestamp64Milli(letters.received_at) AS received_ms,
    letters.stream_seq,
    letters.payload_bytes,
    letters.payload_sha256,
    letters.dlq_seq
FROM dead_letters AS letters
LEFT JOIN (
    SELECT received_at, stream_seq, state
    FROM dead_letter_decisions
    WHERE received_at >= fromUnixTimestamp64Milli({since_ms:Int64})
      AND received_at <= fromUnixTimestamp64Milli({until_ms:Int64})
) AS decisions
    ON decisions.received_at = letters.received_at AND decisions.stream_seq = letters.stream_seq
WHERE letters.received_at >= fromUnixTimestamp64Milli({since_ms:Int64})
  AND letters.received_at <= fromUnixTimestamp64Milli({until_ms:Int64})
  AND (letters.received_at, letters.stream_seq)
      > (fromUnixTimestamp64Milli({after_ms:Int64}), {after_seq:UInt64})
  AND ({reason:String} = '' OR letters.reason = {reason:String})
  AND (empty({ids:Array(String)}) OR letters.dead_letter_id IN {ids:Array(String)})
  AND decisions.state = ''
ORDER BY letters.received_at, letters.stream_seq
LIMIT {page_rows:UInt32}
