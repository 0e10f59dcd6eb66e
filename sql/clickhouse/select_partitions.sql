-- Called by pipelines partitions.stock: what each partition of the given tables takes, of the engine's
-- list of parts; reads no data.
SELECT database, table, partition_id, sum(rows), sum(bytes_on_disk), count()
FROM system.parts
WHERE active AND ((database = currentDatabase() AND table IN {tables:Array(String)})
    OR (database = 'system' AND table IN {system_tables:Array(String)}))
GROUP BY database, table, partition_id
ORDER BY database, table, partition_id
