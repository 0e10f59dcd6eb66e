-- Called by pipelines partitions.events_day; reads one day's partition. FINAL counts each event once.
SELECT count(), uniqExact(company_id), min(stream_seq), max(stream_seq)
FROM events FINAL
WHERE received_at >= toDateTime64({day:Date}, 3, 'UTC')
  AND received_at < toDateTime64({day:Date} + 1, 3, 'UTC')
