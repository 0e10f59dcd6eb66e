-- Called by pipelines backups.restore; one partition, parts are linked and not copied. Rows that are
-- there already are replaced by their key.
ALTER TABLE $database.$table ATTACH PARTITION ID $partition FROM $scratch.$table
