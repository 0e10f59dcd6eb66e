-- Called by the sidecar's letter box and its proofs for one letter. Leans on the whole key of both
-- tables.
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
    WHERE received_at = fromUnixTimestamp64Milli({received_ms:Int64}) AND stream_seq = {seq:UInt64}
) AS decisions
    ON decisions.received_at = letters.received_at AND decisions.stream_seq = letters.stream_seq
WHERE letters.received_at = fromUnixTimestamp64Milli({received_ms:Int64})
  AND letters.stream_seq = {seq:UInt64}
  AND letters.dead_letter_id = {id:String}
