-- Called by the sidecar's letter box: how many letters a filter finds, by reason. Leans on the key
-- (received_at, stream_seq) of both tables.
SELECT letters.reason, count()
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
  AND letters.stream_seq >= {from_seq:UInt64}
  AND letters.stream_seq <= {to_seq:UInt64}
  AND ({reason:String} = '' OR letters.reason = {reason:String})
  AND ({company_id:String} = '' OR letters.company_id = {company_id:String})
  AND ({state:String} = 'all' OR if(decisions.state = '', 'open', decisions.state) = {state:String})
GROUP BY letters.reason
ORDER BY letters.reason
