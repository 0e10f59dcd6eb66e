-- Called by cli doctor, of the engine's list of parts; reads no data. The partition with the most parts,
-- and the number from which on the engine slows inserts down.
SELECT
    table,
    partition,
    count() AS parts,
    (SELECT toUInt64(value) FROM system.merge_tree_settings WHERE name = 'parts_to_delay_insert')
FROM system.parts
WHERE active AND database = currentDatabase()
GROUP BY table, partition
ORDER BY parts DESC
LIMIT 1
