-- Called by sql.migrations; the record of what was applied, a repeated row replaces itself.
CREATE TABLE IF NOT EXISTS schema_migrations (
    name       String,
    checksum   String,
    applied_at DateTime DEFAULT now()
) ENGINE = ReplacingMergeTree ORDER BY name
