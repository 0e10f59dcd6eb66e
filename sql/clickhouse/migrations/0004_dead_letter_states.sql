-- Where the letter's exact bytes are in the stream of dead letters; 0 when they are in no stream.
ALTER TABLE dead_letters ADD COLUMN IF NOT EXISTS dlq_seq UInt64 DEFAULT 0;

-- What was decided about a dead letter, by whom and why. A table of its own and no column of the
-- letter: the sink may write a letter again at any time, and that must not open it again. The key
-- is the letter's. A letter that was replayed is stored, whatever was decided at the same moment.
CREATE TABLE IF NOT EXISTS dead_letter_decisions (
    dead_letter_id String,
    received_at    DateTime64(3, 'UTC'),
    stream_seq     UInt64,
    state          LowCardinality(String),
    decided_at     DateTime64(3, 'UTC') DEFAULT now64(3),
    decided_by     String,
    why            String,
    rank           UInt8 MATERIALIZED if(state = 'replayed', 2, 1)
) ENGINE = ReplacingMergeTree(rank)
PARTITION BY toYYYYMM(received_at)
ORDER BY (received_at, stream_seq);
