-- Called by pipelines backups.catalogue; by the primary key.
INSERT INTO backups
SELECT * FROM jsonb_populate_record(NULL::backups, %(record)s::jsonb)
ON CONFLICT (backup_id) DO UPDATE SET
    state = excluded.state,
    finished_at = excluded.finished_at,
    clickhouse_version = excluded.clickhouse_version,
    postgres_version = excluded.postgres_version,
    clickhouse_migrations = excluded.clickhouse_migrations,
    postgres_migrations = excluded.postgres_migrations,
    bytes = excluded.bytes,
    duration_seconds = excluded.duration_seconds,
    warehouse = excluded.warehouse,
    platform = excluded.platform,
    error = excluded.error,
    proven_at = excluded.proven_at,
    drill = excluded.drill
