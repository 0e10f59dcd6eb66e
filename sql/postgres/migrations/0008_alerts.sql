-- What is wrong, since when, and who was told. One row an occurrence: an alert that comes back after
-- it was resolved is a new one. Written by the pipelines' alerts_sensor only.
CREATE TABLE alerts (
    key                text NOT NULL,
    opened_at          timestamptz NOT NULL,
    severity           text NOT NULL CHECK (severity IN ('warning', 'error', 'critical')),
    "text"             text NOT NULL,
    -- Anchor of docs/operations.md.
    see                text NOT NULL,
    -- When the next message is due; in the future while a condition has yet to last.
    next_send_at       timestamptz NOT NULL,
    last_sent_at       timestamptz,
    sends              integer NOT NULL DEFAULT 0,
    -- 'webhook' or 'log': an alert that only the log knows is due as soon as there is a webhook.
    told_to            text,
    resolved_at        timestamptz,
    resolution_sent_at timestamptz,
    PRIMARY KEY (key, opened_at)
);
CREATE UNIQUE INDEX alerts_open_idx ON alerts (key) WHERE resolved_at IS NULL;
CREATE INDEX alerts_resolved_idx ON alerts (resolved_at) WHERE resolved_at IS NOT NULL;

-- How often each view is refreshed by schedule, and in which hours (UTC, from first_hour until before
-- last_hour, over midnight too; both NULL: at any time). The schedule ticks every five minutes.
ALTER TABLE analytics_mvs
    ADD COLUMN every_minutes integer NOT NULL DEFAULT 5 CHECK (every_minutes BETWEEN 5 AND 10080),
    ADD COLUMN first_hour    integer CHECK (first_hour BETWEEN 0 AND 23),
    ADD COLUMN last_hour     integer CHECK (last_hour BETWEEN 0 AND 23),
    ADD CONSTRAINT analytics_mvs_hours CHECK (
        (first_hour IS NULL) = (last_hour IS NULL) AND (first_hour <> last_hour) IS NOT FALSE);

-- Which views a schedule has to refresh at `moment`: inside their hours and at least `every_minutes`
-- after the last attempt began, whoever made it. A minute of grace, since a tick is never exact.
CREATE FUNCTION due_analytics_materialized_views(moment timestamptz)
RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT listed.view
    FROM analytics_mvs AS listed
    WHERE (listed.first_hour IS NULL
           OR CASE WHEN listed.first_hour < listed.last_hour
                   THEN extract(hour FROM moment AT TIME ZONE 'UTC') >= listed.first_hour
                        AND extract(hour FROM moment AT TIME ZONE 'UTC') < listed.last_hour
                   ELSE extract(hour FROM moment AT TIME ZONE 'UTC') >= listed.first_hour
                        OR extract(hour FROM moment AT TIME ZONE 'UTC') < listed.last_hour END)
      AND NOT EXISTS (
          SELECT FROM analytics_mv_refreshes AS log
          WHERE log.view = listed.view
            AND log.started_at > moment - make_interval(mins => listed.every_minutes - 1))
    ORDER BY listed.position
$$;

-- For pg_cron where the cadence counts; by the same function as everybody, so with the same locks.
CREATE FUNCTION refresh_due_analytics_materialized_views() RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    view_name text;
    outcome   analytics_mv_refreshes;
BEGIN
    FOR view_name IN SELECT due_analytics_materialized_views(clock_timestamp()) LOOP
        outcome := refresh_analytics_materialized_view(
            view_name, 'due refresh called by ' || session_user);
        RETURN NEXT CASE outcome.status
            WHEN 'ok' THEN format('%s: %s rows in %s s', view_name, outcome."rows",
                                  round(outcome.duration_seconds::numeric, 3))
            ELSE format('%s: FAILED, %s', view_name, outcome.error)
        END;
    END LOOP;
END $$;

-- The last period's value without sorting a company's periods: the array is compared by its first
-- element, and the period is unique in a company. Over 10 million periods that is 2.3 s
-- of CPU instead of 5.4 s, and parallel workers can take part. The other columns are as they were.
DROP MATERIALIZED VIEW company_dashboard_mv;
CREATE MATERIALIZED VIEW company_dashboard_mv AS
SELECT
    company_id,
    max(period_start) AS last_period,
    max(participants)::bigint AS total_participants,
    sum(avg_integration_score * participants)
        / nullif(sum(participants) FILTER (WHERE avg_integration_score IS NOT NULL), 0)
        AS overall_integration_score,
    sum(avg_social_capital_score * participants)
        / nullif(sum(participants) FILTER (WHERE avg_social_capital_score IS NOT NULL), 0)
        AS overall_social_capital_score,
    sum(sroi * participants)
        / nullif(sum(participants) FILTER (WHERE sroi IS NOT NULL), 0)
        AS overall_sroi,
    max(total_matches)::bigint AS total_matches,
    (max(ARRAY[period_start - date '2000-01-01', active_matches]))[2]::bigint AS active_matches,
    count(*) AS periods_tracked
FROM metrics_company_period
GROUP BY company_id
WITH NO DATA;
CREATE UNIQUE INDEX company_dashboard_mv_key ON company_dashboard_mv (company_id);
-- Filled without a line in the run log: for readers nothing has changed.
REFRESH MATERIALIZED VIEW company_dashboard_mv;
