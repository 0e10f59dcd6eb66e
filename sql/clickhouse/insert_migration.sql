-- Called by sql.migrations after the last statement of a migration.
INSERT INTO schema_migrations (name, checksum) SELECT {name:String}, {checksum:String}
