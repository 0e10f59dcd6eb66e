-- How long each dataset is kept. Rows without a company are the defaults, and follow the settings
-- RETENTION_*; a row with one is that company's own, shorter or longer. Nothing is dropped or deleted
-- by age that this table does not name. `replay` is the age of the stream of events, for all
-- companies together, as `query_log` is; its days may be broken (36 hours are 1.5).
CREATE TABLE retention_policies (
    dataset    text NOT NULL
               CHECK (dataset IN ('events', 'aggregates', 'dead_letters', 'query_log', 'replay')),
    company_id text CHECK (company_id ~ '^[A-Za-z0-9_-]{1,100}$'),
    days       numeric NOT NULL CHECK (days > 0 AND (dataset = 'replay' OR days = trunc(days))),
    reason     text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (dataset, company_id),
    CHECK (company_id IS NULL OR dataset IN ('events', 'aggregates', 'dead_letters'))
);

-- What was done to partitions of the warehouse and to ages of streams, by which run, and what was
-- refused because it was no longer due when its turn came. Names no company, so that it may stay
-- when one is erased.
CREATE TABLE partition_actions (
    action_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    done_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The moment that the decision was made for: the clock that was given to the run.
    decided_for      timestamptz NOT NULL,
    run_id           text NOT NULL,
    action           text NOT NULL,
    outcome          text NOT NULL CHECK (outcome IN ('done', 'refused', 'failed')),
    dataset          text NOT NULL,
    table_name       text NOT NULL,
    partition_id     text NOT NULL,
    companies        integer NOT NULL,
    "rows"           bigint NOT NULL,
    bytes            bigint NOT NULL,
    duration_seconds double precision NOT NULL,
    reason           text NOT NULL
);
CREATE INDEX partition_actions_partition_idx ON partition_actions (table_name, partition_id);

-- The ledger of erasures: written before the first row is deleted, so that one that was cut is known
-- and can be finished. It keeps the ids (no name, no address): an erasure that could not name
-- its subject could not be applied to a backup that was restored.
CREATE TABLE erasures (
    erasure_id       uuid PRIMARY KEY,
    kind             text NOT NULL CHECK (kind IN ('user', 'company')),
    company_id       text NOT NULL,
    user_id          text,
    -- Data up to this moment is erased; what comes in later is new.
    erased_at        timestamptz NOT NULL,
    requested_by     text NOT NULL,
    run_id           text NOT NULL,
    done_at          timestamptz,
    duration_seconds double precision,
    -- Rows and messages that were deleted, by store.
    counts           jsonb NOT NULL DEFAULT '{}',
    -- The last look at all stores that found nothing; `left_over` is what the last look found.
    verified_at      timestamptz,
    left_over        jsonb NOT NULL DEFAULT '{}',
    reapplied_at     timestamptz,
    CHECK ((kind = 'user') = (user_id IS NOT NULL))
);
CREATE INDEX erasures_done_idx ON erasures (done_at);
