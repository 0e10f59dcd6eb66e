-- Called by pipelines backups.warehouse; what a backup of the whole database has to copy.
SELECT sum(bytes_on_disk) FROM system.parts WHERE database = {database:String} AND active
