-- Called by sql.migrations; reads the whole (short) table.
SELECT name, checksum FROM schema_migrations ORDER BY name;
