-- Called by pipelines backups.warehouse: one table's rows.
RESTORE TABLE $database.$table AS $scratch.$table FROM $location SETTINGS id = $id
