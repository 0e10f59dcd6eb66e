-- Called by pipelines backups.restore; a table's columns, to compare two tables.
SELECT name, type FROM system.columns
WHERE database = {database:String} AND table = {table:String}
ORDER BY position
