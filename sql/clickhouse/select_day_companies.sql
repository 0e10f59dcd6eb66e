-- Called by pipelines partitions.rebuild: who has events on that day; prunes to the day's partition.
SELECT DISTINCT company_id FROM events WHERE toDate(received_at) = {day:Date} ORDER BY company_id
