-- Called by pipelines backups.warehouse: tables without rows, so that merges can be stopped first.
RESTORE DATABASE $database AS $scratch FROM $location SETTINGS structure_only = true
