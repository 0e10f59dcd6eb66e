-- Called by pipelines backups.warehouse: the rows of chosen partitions, by their ids.
RESTORE TABLE $database.$table AS $scratch.$table PARTITIONS $partitions FROM $location SETTINGS id = $id
