-- Called by pipelines backups.warehouse: the backup's own contents as a database that can be read.
CREATE DATABASE $scratch ENGINE = Backup($database_name, $location)
