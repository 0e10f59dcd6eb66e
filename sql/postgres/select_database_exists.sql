-- Called by pipelines backups.platform; pg_database by its name.
SELECT EXISTS (SELECT FROM pg_database WHERE datname = %(database)s)
