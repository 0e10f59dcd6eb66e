-- Which views there are, in the order of refreshing, and the table each is made from. The refresh
-- function, the freshness view and the pipeline all go by this list.
CREATE TABLE analytics_mvs (
    view     text PRIMARY KEY,
    source   text NOT NULL UNIQUE,
    position integer NOT NULL UNIQUE
);
INSERT INTO analytics_mvs (position, view, source) VALUES
    (1, 'company_dashboard_mv', 'metrics_company_period'),
    (2, 'program_performance_mv', 'metrics_program_period'),
    (3, 'language_group_performance_mv', 'metrics_language_period'),
    (4, 'journey_stage_distribution_mv', 'user_journeys');

-- One row a refresh, whoever asked for it: the pipeline, a person, pg_cron.
CREATE TABLE analytics_mv_refreshes (
    refresh_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    view             text NOT NULL,
    status           text NOT NULL CHECK (status IN ('ok', 'failed')),
    started_at       timestamptz NOT NULL,
    duration_seconds double precision NOT NULL,
    "rows"           bigint,
    -- False for REFRESH … CONCURRENTLY; a view's first filling shuts its readers out.
    readers_blocked  boolean NOT NULL,
    -- Source mark: changes of transactions visible in it are in the view. Taken before the refresh
    -- in its own transaction, so it never claims a change that the view lacks.
    source_mark      pg_snapshot NOT NULL,
    error            text,
    caller           text NOT NULL
);
CREATE INDEX analytics_mv_refreshes_view_idx ON analytics_mv_refreshes (view, refresh_id DESC);

-- How many rows each statement changed in a source. One row a statement, pruned at each refresh.
CREATE TABLE analytics_mv_source_changes (
    change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid       xid8 NOT NULL DEFAULT pg_current_xact_id(),
    source    text NOT NULL,
    "rows"    bigint NOT NULL
);
CREATE INDEX analytics_mv_source_changes_idx ON analytics_mv_source_changes (source, xid);

CREATE FUNCTION log_mv_source_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO analytics_mv_source_changes (source, "rows")
    SELECT TG_TABLE_NAME, count(*) FROM changed_rows HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE FUNCTION log_mv_source_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO analytics_mv_source_changes (source, "rows") VALUES (TG_TABLE_NAME, 1);
    RETURN NULL;
END $$;

DO $$
DECLARE
    source_name text;
BEGIN
    FOR source_name IN SELECT source FROM analytics_mvs LOOP
        EXECUTE format('CREATE TRIGGER %I AFTER INSERT ON %I REFERENCING NEW TABLE AS changed_rows
            FOR EACH STATEMENT EXECUTE FUNCTION log_mv_source_changes()',
            source_name || '_log_insert', source_name);
        EXECUTE format('CREATE TRIGGER %I AFTER UPDATE ON %I REFERENCING NEW TABLE AS changed_rows
            FOR EACH STATEMENT EXECUTE FUNCTION log_mv_source_changes()',
            source_name || '_log_update', source_name);
        EXECUTE format('CREATE TRIGGER %I AFTER DELETE ON %I REFERENCING OLD TABLE AS changed_rows
            FOR EACH STATEMENT EXECUTE FUNCTION log_mv_source_changes()',
            source_name || '_log_delete', source_name);
        EXECUTE format('CREATE TRIGGER %I AFTER TRUNCATE ON %I
            FOR EACH STATEMENT EXECUTE FUNCTION log_mv_source_truncate()',
            source_name || '_log_truncate', source_name);
    END LOOP;
END $$;

-- Refresh one view and log it. A failure undoes only the refresh: it is logged, returned as a row
-- with status 'failed', and raised as a warning. Waits while another session refreshes the
-- same view, so the caller finds in the view all that was committed before the call.
CREATE FUNCTION refresh_analytics_materialized_view(view_name text, caller_name text)
RETURNS analytics_mv_refreshes LANGUAGE plpgsql AS $$
DECLARE
    outcome    analytics_mv_refreshes;
    began      timestamptz := clock_timestamp();
    populated  boolean := coalesce(
        (SELECT relispopulated FROM pg_class WHERE oid = to_regclass(view_name)), false);
    mark       pg_snapshot := pg_current_snapshot();
    view_rows  bigint;
    failure    text;
BEGIN
    PERFORM FROM analytics_mvs WHERE view = view_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown materialized view %', view_name
            USING ERRCODE = 'undefined_table', HINT = 'SELECT view FROM analytics_mvs';
    END IF;
    BEGIN
        -- Two-key locks are a namespace of their own; 0x6D76 is 'mv'. A lock_timeout here is a
        -- failure of this view only. What follows the wait is timed and marked after it.
        PERFORM pg_advisory_xact_lock(28022, hashtext(view_name));
        began := clock_timestamp();
        mark := pg_current_snapshot();
        IF populated THEN
            EXECUTE format('REFRESH MATERIALIZED VIEW CONCURRENTLY %I', view_name);
        ELSE
            EXECUTE format('REFRESH MATERIALIZED VIEW %I', view_name);
        END IF;
        EXECUTE format('SELECT count(*) FROM %I', view_name) INTO view_rows;
        -- What is visible in the mark is in the view from here on. A number that is not given out
        -- yet came with a dump from another cluster: it is in the view as well.
        DELETE FROM analytics_mv_source_changes
        WHERE source = (SELECT m.source FROM analytics_mvs AS m WHERE m.view = view_name)
          AND (xid < pg_snapshot_xmin(mark) OR xid >= pg_snapshot_xmax(pg_current_snapshot()));
    EXCEPTION WHEN OTHERS THEN
        failure := SQLERRM;
        RAISE WARNING '% was not refreshed: %', view_name, failure;
    END;
    INSERT INTO analytics_mv_refreshes
        (view, status, started_at, duration_seconds, "rows", readers_blocked, source_mark, error, caller)
    VALUES (view_name, CASE WHEN failure IS NULL THEN 'ok' ELSE 'failed' END, began,
            extract(epoch FROM clock_timestamp() - began), view_rows, NOT populated, mark, failure,
            caller_name)
    RETURNING * INTO outcome;
    RETURN outcome;
END $$;

-- By hand and under pg_cron: all views, one line of text each. Views that could not be refreshed
-- say so there, in a warning and in the log; the others are refreshed.
CREATE FUNCTION refresh_analytics_materialized_views() RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    view_name text;
    outcome   analytics_mv_refreshes;
BEGIN
    FOR view_name IN SELECT m.view FROM analytics_mvs AS m ORDER BY m.position LOOP
        outcome := refresh_analytics_materialized_view(
            view_name, 'function called by ' || session_user);
        RETURN NEXT CASE outcome.status
            WHEN 'ok' THEN format('%s: %s rows in %s s', view_name, outcome."rows",
                                  round(outcome.duration_seconds::numeric, 3))
            ELSE format('%s: FAILED, %s', view_name, outcome.error)
        END;
    END LOOP;
END $$;

-- What pg_matviews was hoped to say. One row a view; `source_changes` counts the changed source rows
-- that are not in it yet (rows of transactions that were under way at the refresh count until the
-- next one); everything is NULL for a view that was never refreshed.
CREATE VIEW analytics_mv_freshness AS
SELECT
    coalesce(class.relnamespace::regnamespace::text, 'public') AS schemaname,
    listed.view AS matviewname,
    latest.started_at + make_interval(secs => latest.duration_seconds) AS last_refresh,
    make_interval(secs => latest.duration_seconds) AS duration,
    latest."rows",
    clock_timestamp() - latest.started_at AS age,
    CASE WHEN latest.source_mark IS NOT NULL THEN (
        SELECT coalesce(sum(changes."rows"), 0)::bigint
        FROM analytics_mv_source_changes AS changes
        WHERE changes.source = listed.source
          AND NOT pg_visible_in_snapshot(changes.xid, latest.source_mark)
    ) END AS source_changes,
    failed.started_at AS failed_at,
    failed.error
FROM analytics_mvs AS listed
LEFT JOIN pg_class AS class ON class.oid = to_regclass(listed.view)
LEFT JOIN LATERAL (
    SELECT * FROM analytics_mv_refreshes AS log
    WHERE log.view = listed.view AND log.status = 'ok'
    ORDER BY log.refresh_id DESC LIMIT 1
) AS latest ON true
LEFT JOIN LATERAL (
    -- The last refresh, when it is a failed one.
    SELECT * FROM (
        SELECT * FROM analytics_mv_refreshes AS log
        WHERE log.view = listed.view ORDER BY log.refresh_id DESC LIMIT 1
    ) AS last WHERE last.status = 'failed'
) AS failed ON true
ORDER BY listed.position;

SELECT refresh_analytics_materialized_views();
