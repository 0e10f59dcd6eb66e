-- Called by sql.migrations; reads the whole (short) table.
SELECT name, checksum FROM schema_migrations FINAL ORDER BY name
