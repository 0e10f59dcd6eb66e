-- Called by sql.migrations inside the transaction of the migration itself.
INSERT INTO schema_migrations (name, checksum) VALUES (%(name)s, %(checksum)s);
