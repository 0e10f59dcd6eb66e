-- Called by the sidecar's letter box when the stream of dead letters has the bytes no more. Leans
-- on the whole key.
SELECT payload
FROM dead_letters
WHERE received_at = fromUnixTimestamp64Milli({received_ms:Int64})
  AND stream_seq = {seq:UInt64}
  AND dead_letter_id = {id:String}
