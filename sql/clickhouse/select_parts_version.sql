-- Called by the cohort API's cache, once a second while it is asked. Parts are immutable, so the names
-- of a table's active ones are a version of its data: every insert, delete, mutation, dropped partition
-- or restore changes one. Reads the engine's list of parts, no data.
SELECT cityHash64(arraySort(groupArray(concat(table, ' ', name))))
FROM system.parts
WHERE database = currentDatabase() AND table IN {tables:Array(String)} AND active
