-- Called by pipelines backups.warehouse; one row while a BACKUP or RESTORE of this id runs: a backup
-- counts what it has written, a restore what it has read of the backup.
SELECT if(status = 'RESTORING', bytes_read, total_size)
FROM system.backups
WHERE id = {id:String} AND status IN ('CREATING_BACKUP', 'RESTORING')
SETTINGS log_queries = 0
