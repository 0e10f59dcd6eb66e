-- Called by pipelines backups.platform before a database is renamed; clients connect again. Waits up
-- to 5 s for each to end.
SELECT count(*) FILTER (WHERE NOT pg_terminate_backend(pid, 5000))
FROM pg_stat_activity WHERE datname = %(database)s AND pid <> pg_backend_pid()
