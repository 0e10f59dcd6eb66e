-- Called by pipelines partitions.rebuild: metric events of one day as they were streamed, a company at
-- a time; prunes to the day's partition and leans on the key (company_id, received_at, stream_seq).
SELECT event_id, payload
FROM events FINAL
WHERE toDate(received_at) = {day:Date} AND company_id = {company_id:String}
  AND startsWith(event_type, {prefix:String})
ORDER BY received_at, stream_seq
