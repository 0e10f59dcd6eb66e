-- Called by pipelines dead_letters.growth: open letters by reason, and those that came in lately. A
-- scan of the letters of the retention, without their payloads.
SELECT
    letters.reason,
    count() AS open_letters,
    countIf(letters.stored_at >= now64(3) - toIntervalSecond({recent_seconds:UInt32})) AS recent
FROM dead_letters AS letters FINAL
LEFT JOIN (
    SELECT received_at, stream_seq, state FROM dead_letter_decisions FINAL
) AS decisions
    ON decisions.received_at = letters.received_at AND decisions.stream_seq = letters.stream_seq
WHERE decisions.state = ''
GROUP BY letters.reason
ORDER BY letters.reason
