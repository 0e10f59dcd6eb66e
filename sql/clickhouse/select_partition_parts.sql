-- Called by pipelines backups.warehouse; the list of parts, no data. The digest tells whether a
-- partition still consists of the same files.
SELECT
    table,
    partition_id,
    lower(hex(sipHash128(arraySort(groupArray((name, hash_of_all_files)))))) AS digest,
    sum(bytes_on_disk) AS bytes
FROM system.parts
WHERE database = {database:String} AND active
GROUP BY table, partition_id
ORDER BY table, partition_id
