-- Called by pipelines partitions.strays: parts that no query reads, of all tables of the database.
SELECT table, name, toString(reason) AS why, bytes_on_disk
FROM system.detached_parts
WHERE database = currentDatabase()
ORDER BY table, name
