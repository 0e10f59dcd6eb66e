-- Called by pipelines backups.platform for scratch databases and for one that was replaced.
DROP DATABASE IF EXISTS {database} WITH (FORCE)
