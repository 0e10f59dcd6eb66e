-- One row an event. All of the sorting key comes out of the event's id, so an event that is
-- delivered again replaces itself: under another key it would count twice. Partitioned by the day
-- of the stream's own time, so that a producer with a bad clock can't make partitions.
CREATE TABLE IF NOT EXISTS events (
    event_id    String CODEC(ZSTD(1)),
    event_type  LowCardinality(String),
    company_id  LowCardinality(String),
    user_id     Nullable(String),
    timestamp   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    stream_seq  UInt64 CODEC(Delta, ZSTD(1)),
    payload     String CODEC(ZSTD(3))
) ENGINE = ReplacingMergeTree
PARTITION BY toDate(received_at)
ORDER BY (company_id, received_at, stream_seq);

-- One row a metric event, with the same idempotence: the key is a function of the event.
CREATE TABLE IF NOT EXISTS metrics_timeseries (
    company_id   LowCardinality(String),
    metric_name  LowCardinality(String),
    metric_value Float64,
    period_start Date,
    timestamp    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    user_id      Nullable(String),
    dimensions   String,
    event_id     String CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(period_start)
ORDER BY (company_id, metric_name, period_start, event_id);

-- What could not be accepted, with its reason and its raw bytes. The key is the message's place in
-- the stream, so that mirroring one twice replaces it.
CREATE TABLE IF NOT EXISTS dead_letters (
    dead_letter_id String,
    subject        String,
    stream_seq     UInt64,
    received_at    DateTime64(3, 'UTC'),
    company_id     Nullable(String),
    reason         LowCardinality(String),
    detail         String,
    payload        String CODEC(ZSTD(3)),
    payload_bytes  UInt64,
    payload_sha256 String,
    stored_at      DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree(stored_at)
PARTITION BY toYYYYMM(received_at)
ORDER BY (received_at, stream_seq);

-- How far a batch process has come: a sync's watermark, a reconciliation's hour.
CREATE TABLE IF NOT EXISTS processing_checkpoints (
    name       String,
    position   String,
    updated_at DateTime64(6, 'UTC') DEFAULT now64(6)
) ENGINE = ReplacingMergeTree(updated_at)
ORDER BY name;
