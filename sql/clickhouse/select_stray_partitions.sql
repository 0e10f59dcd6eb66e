-- Called by cli doctor, of the engine's list of parts; reads no data. Days of `events` and months of the
-- other tables that no event can have: ids are YYYYMMDD and YYYYMM, and `events.accept` takes periods
-- from 2000 until 400 days ahead.
SELECT table, partition_id, sum(rows)
FROM system.parts
WHERE active AND database = currentDatabase()
  AND multiIf(
    table = 'events',
        length(partition_id) != 8 OR partition_id < '20000101'
        OR partition_id > toString(toYYYYMMDD(today() + 1)),
    table = 'metrics_timeseries',
        length(partition_id) != 6 OR partition_id < '200001'
        OR partition_id > toString(toYYYYMM(today() + 401)),
    table IN ('dead_letters', 'dead_letter_decisions', 'reconciliations'),
        length(partition_id) != 6 OR partition_id < '200001'
        OR partition_id > toString(toYYYYMM(today() + 1)),
    false
  )
GROUP BY table, partition_id
ORDER BY table, partition_id
LIMIT 20
