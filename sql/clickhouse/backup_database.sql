-- Called by pipelines backups.warehouse; all tables. The window into Postgres stays out, because its
-- definition holds a password; `analytics migrate` makes it again.
BACKUP DATABASE $database EXCEPT TABLES $database.user_cohorts_postgres TO $location
SETTINGS id = $id
