-- Called by pipelines backups.catalogue; an advisory lock of the session, no table.
SELECT pg_try_advisory_lock(%(class)s, %(lock)s)
