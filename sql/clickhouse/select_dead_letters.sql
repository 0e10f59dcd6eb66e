-- Called by the sidecar's letter box: a page of dead letters, the newest first. Leans on the key
-- (received_at, stream_seq) of both tables; the page goes on behind the cursor.
SELECT
    letters.dead_letter_id,
    letters.subject,
    letters.stream_seq,
    toUnixTimestamp64Milli(letters.received_at) AS received_ms,
    letters.company_id,
    letters.reason,
    letters.detail,
    letters.payload_bytes,
    letters.payload_sha256,
    letters.dlq_seq,
    if(decisions.state = '', 'open', decisions.state) AS letter_state,
    toUnixTimestamp64Milli(decisions.decided_at) AS decided_ms,
    decisions.decided_by,
    decisions.why
FROM dead_letters AS letters
LEFT JOIN (
    SELECT received_at, stream_seq, state, decided_at, decided_by, why
    FROM dead_letter_decisions
    WHERE received_at >= fromUnixTimestamp64Milli({since_ms:Int64})
      AND received_at <= fromUnixTimestamp64Milli({until_ms:Int64})
) AS decisions
    ON decisions.received_at = letters.received_at AND decisions.stream_seq = letters.stream_seq
WHERE letters.received_at >= fromUnixTimestamp64Milli({since_ms:Int64})
  AND letters.received_at <= fromUnixTimestamp64Milli({until_ms:Int64})
  AND (letters.received_at, letters.stream_seq)
      < (fromUnixTimestamp64Milli({before_ms:Int64}), {before_seq:UInt64})
  AND letters.stream_seq >= {from_seq:UInt64}
  AND letters.stream_seq <= {to_seq:UInt64}
  AND ({reason:String} = '' OR letters.reason = {reason:String})
  AND ({company_id:String} = '' OR letters.company_id = {company_id:String})
  AND ({state:String} = 'all' OR letter_state = {state:String})
ORDER BY letters.received_at DESC, letters.stream_seq DESC
LIMIT {page_rows:UInt32}
