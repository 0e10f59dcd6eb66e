-- Called by pipelines backups.platform, in the transaction that the dump shares; no table.
SELECT pg_export_snapshot(), current_setting('server_version')
