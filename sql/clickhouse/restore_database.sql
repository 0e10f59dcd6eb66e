-- Called by pipelines backups.warehouse: rows into the tables of restore_structure.
RESTORE DATABASE $database AS $scratch FROM $location SETTINGS id = $id
