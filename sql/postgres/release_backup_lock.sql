-- Called by pipelines backups.catalogue; the advisory lock that try_backup_lock took.
SELECT pg_advisory_unlock(%(class)s, %(lock)s)
