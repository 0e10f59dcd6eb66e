-- Called by pipelines backups.warehouse; the list of tables, no data. Views hold no rows.
SELECT name FROM system.tables
WHERE database = {database:String} AND engine LIKE '%MergeTree'
ORDER BY name
