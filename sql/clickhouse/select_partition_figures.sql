-- Called by pipelines backups.warehouse; reads the named partitions whole. Each row once, as readers
-- see it, so that a merge changes nothing. The sum of hashes does not depend on the order of rows;
-- a tuple, because the hash of a NULL alone would be NULL.
SELECT _partition_id AS partition_id, count() AS rows, toString(sum(cityHash64(tuple(*)))) AS hash
FROM {database:Identifier}.{table:Identifier}
WHERE _partition_id IN {partitions:Array(String)}
GROUP BY partition_id
ORDER BY partition_id
SETTINGS final = 1, do_not_merge_across_partitions_select_final = 1
