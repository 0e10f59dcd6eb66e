-- Called by pipelines backups.warehouse.
SELECT version()
