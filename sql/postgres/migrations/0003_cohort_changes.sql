-- The change log that the cohort sync and the membership evaluator read instead of whole tables.
-- It holds the keys that a transaction touched, not their values: a reader takes the current row of
-- a key from the same snapshot, so the order of changes doesn't matter and a retry has no double
-- effect. `xid` says in which snapshots a change is visible. A clock or a sequence would not: a
-- transaction that commits late has an early time and an early number, and would be missed.
CREATE TABLE cohort_changes (
    change_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    source     text NOT NULL CHECK (source IN ('cohorts', 'user_cohorts', 'users')),
    -- NULL in all three: the whole table was truncated.
    company_id text,
    cohort_id  uuid,
    user_id    uuid
);
CREATE INDEX cohort_changes_xid_idx ON cohort_changes (xid);

-- How far each reader of the change log has come: everything that is visible in `snapshot` is done.
-- `membership` is kept here only; `clickhouse` is a copy of the watermark that ClickHouse keeps
-- beside the rows it describes, here for the sensor's one query and for pruning.
CREATE TABLE cohort_watermarks (
    reader     text PRIMARY KEY CHECK (reader IN ('membership', 'clickhouse')),
    -- Which life of which database counted these transactions: see cohort_change_log_identity().
    identity   text NOT NULL,
    snapshot   pg_snapshot NOT NULL,
    -- The evaluator's own transaction, whose changes are no news to it.
    own_xid    xid8,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- One row: changes of transactions below `before_xid` may be gone from the log. A watermark that is
-- older than this (a ClickHouse restored from a backup) needs a full resync.
CREATE TABLE cohort_changes_pruned (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    before_xid xid8 NOT NULL DEFAULT '0'
);
INSERT INTO cohort_changes_pruned DEFAULT VALUES;

-- Transaction numbers are comparable only inside one life of one database. This text changes with
-- another cluster (system_identifier), after a restore in place or a failover (timeline), in a
-- database made anew (its oid), and when the log itself was restored from a dump (the table's oid).
CREATE FUNCTION cohort_change_log_identity() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT concat_ws('/',
        (pg_control_system()).system_identifier,
        left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        'cohort_changes'::regclass::oid)
$$;

-- A time as the warehouse keeps it: milliseconds of UTC, cut to what DateTime64(3) can hold, so that
-- one 'infinity' typed by hand doesn't stop the sync of everybody.
CREATE FUNCTION warehouse_milliseconds(moment timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT floor(extract(epoch FROM
        greatest(least(moment, '2200-01-01Z'::timestamptz), '1970-01-01Z'::timestamptz)) * 1000)::bigint
$$;

-- Statement triggers with transition tables: one INSERT … SELECT a statement instead of a function
-- call a row. SECURITY DEFINER, because the platform writes users under a role of its own
-- that needs no rights on the log.
CREATE FUNCTION log_cohort_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO cohort_changes (source, company_id, cohort_id)
        SELECT 'cohorts', company_id, id FROM new_rows;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO cohort_changes (source, company_id, cohort_id)
        SELECT 'cohorts', company_id, id FROM old_rows;
    ELSE
        INSERT INTO cohort_changes (source, company_id, cohort_id)
        SELECT 'cohorts', company_id, id FROM new_rows
        UNION
        SELECT 'cohorts', company_id, id FROM old_rows;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION log_user_cohort_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO cohort_changes (source, company_id, cohort_id, user_id)
        SELECT 'user_cohorts', company_id, cohort_id, user_id FROM new_rows;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO cohort_changes (source, company_id, cohort_id, user_id)
        SELECT 'user_cohorts', company_id, cohort_id, user_id FROM old_rows;
    ELSE
        INSERT INTO cohort_changes (source, company_id, cohort_id, user_id)
        SELECT 'user_cohorts', company_id, cohort_id, user_id FROM new_rows
        UNION
        SELECT 'user_cohorts', company_id, cohort_id, user_id FROM old_rows;
    END IF;
    RETURN NULL;
END $$;

-- Of users, only what a filter can ask for: a sign-in that touches another column costs no run.
CREATE FUNCTION log_user_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO cohort_changes (source, company_id, user_id)
        SELECT 'users', company_id, id FROM new_rows;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO cohort_changes (source, company_id, user_id)
        SELECT 'users', company_id, id FROM old_rows;
    ELSE
        INSERT INTO cohort_changes (source, company_id, user_id)
        SELECT 'users', company_id, id FROM (
            (SELECT id, company_id, language, program, role, joined_at FROM new_rows
             EXCEPT SELECT id, company_id, language, program, role, joined_at FROM old_rows)
            UNION
            (SELECT id, company_id, language, program, role, joined_at FROM old_rows
             EXCEPT SELECT id, company_id, language, program, role, joined_at FROM new_rows)
        ) AS changed
        GROUP BY company_id, id;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION log_cohort_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO cohort_changes (source) VALUES (TG_TABLE_NAME);
    RETURN NULL;
END $$;

CREATE TRIGGER cohorts_log_insert AFTER INSERT ON cohorts
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION log_cohort_changes();
CREATE TRIGGER cohorts_log_update AFTER UPDATE ON cohorts
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION log_cohort_changes();
CREATE TRIGGER cohorts_log_delete AFTER DELETE ON cohorts
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION log_cohort_changes();
CREATE TRIGGER cohorts_log_truncate AFTER TRUNCATE ON cohorts
    FOR EACH STATEMENT EXECUTE FUNCTION log_cohort_truncate();

CREATE TRIGGER user_cohorts_log_insert AFTER INSERT ON user_cohorts
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION log_user_cohort_changes();
CREATE TRIGGER user_cohorts_log_update AFTER UPDATE ON user_cohorts
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION log_user_cohort_changes();
CREATE TRIGGER user_cohorts_log_delete AFTER DELETE ON user_cohorts
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION log_user_cohort_changes();
CREATE TRIGGER user_cohorts_log_truncate AFTER TRUNCATE ON user_cohorts
    FOR EACH STATEMENT EXECUTE FUNCTION log_cohort_truncate();

CREATE TRIGGER users_log_insert AFTER INSERT ON users
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION log_user_changes();
CREATE TRIGGER users_log_update AFTER UPDATE ON users
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION log_user_changes();
CREATE TRIGGER users_log_delete AFTER DELETE ON users
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION log_user_changes();
CREATE TRIGGER users_log_truncate AFTER TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION log_cohort_truncate();

-- A cohort's company is for life: rows in the warehouse, answers in caches and tokens are all keyed
-- by it. The foreign key would refuse a move only where there are members, and in other words.
CREATE FUNCTION refuse_cohort_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'cohort % belongs to company %: it cannot be moved to company %',
        OLD.id, OLD.company_id, NEW.company_id
        USING ERRCODE = 'integrity_constraint_violation',
              HINT = 'Create a cohort with the same filters in the other company.';
END $$;
CREATE TRIGGER cohorts_refuse_move BEFORE UPDATE ON cohorts FOR EACH ROW
    WHEN (OLD.company_id IS DISTINCT FROM NEW.company_id) EXECUTE FUNCTION refuse_cohort_move();

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;
CREATE TRIGGER cohorts_touch BEFORE UPDATE ON cohorts FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION touch_updated_at();
