-- Called by pipelines backups.warehouse; the list of databases.
SELECT count() FROM system.databases WHERE name = {database:String}
