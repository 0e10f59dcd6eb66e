-- Called by pipelines backups.warehouse: one table without rows.
RESTORE TABLE $database.$table AS $scratch.$table FROM $location SETTINGS structure_only = true
