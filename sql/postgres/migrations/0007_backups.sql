-- The catalogue of backups. Each complete one has the same facts beside it in the target, as
-- manifest.json, so that this table can be made anew when it is lost.
CREATE TABLE backups (
    backup_id             text PRIMARY KEY,
    kind                  text NOT NULL CHECK (kind IN ('full', 'incremental')),
    -- No foreign key: the base may be known only by its own manifest yet.
    base_id               text,
    target                text NOT NULL,
    location              text NOT NULL,
    -- The warehouse's database, as it is called inside of the backup.
    database              text NOT NULL,
    state                 text NOT NULL CHECK (state IN ('running', 'complete', 'failed', 'pruned')),
    started_at            timestamptz NOT NULL,
    finished_at           timestamptz,
    clickhouse_version    text NOT NULL,
    postgres_version      text NOT NULL,
    clickhouse_migrations text[] NOT NULL,
    postgres_migrations   text[] NOT NULL,
    -- Written by this backup alone: files of the warehouse, and the dump of Postgres.
    bytes                 bigint NOT NULL,
    duration_seconds      double precision,
    -- Table → rows, fingerprint and the same for each partition.
    warehouse             jsonb NOT NULL,
    -- Bytes and SHA-256 of the dump, and rows and fingerprint of each table.
    platform              jsonb,
    error                 text,
    -- When a drill last restored it and found everything.
    proven_at             timestamptz,
    -- The last drill, passed or not: at, passed, seconds, age, reasons.
    drill                 jsonb,
    CHECK ((kind = 'incremental') = (base_id IS NOT NULL)),
    CHECK (state <> 'complete' OR platform IS NOT NULL)
);
CREATE INDEX backups_started_idx ON backups (started_at DESC);
