-- Called by pipelines backups.warehouse; all tables, files that the base holds only by reference.
BACKUP DATABASE $database EXCEPT TABLES $database.user_cohorts_postgres TO $location
SETTINGS id = $id, base_backup = $base
