-- Called by pipelines partitions.events_day: what the day's partition takes on disk. `rows` counts
-- deliveries; those of one event twice are merged away later.
SELECT sum(rows), sum(bytes_on_disk), count()
FROM system.parts
WHERE active AND database = currentDatabase() AND table = {table:String} AND partition = {day:String}
