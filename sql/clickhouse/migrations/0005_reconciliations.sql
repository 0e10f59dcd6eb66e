-- What every check of an hour found, company by company; the company '*' is the hour as a whole, ''
-- are messages that name no company. Checks are kept, so an hour has as many as were made.
CREATE TABLE IF NOT EXISTS reconciliations (
    hour           DateTime('UTC'),
    company_id     String,
    state          LowCardinality(String),
    streamed       UInt64,
    stored         UInt64,
    dead_letters   UInt64,
    missing        UInt64,
    pending        UInt64,
    duplicates     UInt64,
    unexpected     UInt64,
    repaired       UInt64,
    missing_seqs   Array(UInt64),
    unexpected_ids Array(String),
    run_id         String,
    checked_at     DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = MergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, company_id, checked_at);
