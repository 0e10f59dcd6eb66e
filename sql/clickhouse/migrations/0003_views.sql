-- Finished figures by the names that analysts use. They are computed at read time from the newest
-- state, so late members, removed members, late events and redeliveries are always in. FINAL stands
-- here in the text, so that a reader with any profile sees each event once.

-- One row a cohort, metric and period. A user is one observation in a period: the mean of their
-- values. Percentiles are inclusive quantiles, std_dev is the sample's (NULL for one user).
CREATE OR REPLACE VIEW cohort_metrics_mv AS
SELECT
    cohort_id,
    metric_name,
    period_start,
    avg(user_value) AS avg_value,
    count() AS sample_size,
    quantileExactInclusive(0.5)(user_value) AS p50,
    quantileExactInclusive(0.75)(user_value) AS p75,
    quantileExactInclusive(0.95)(user_value) AS p95,
    min(user_value) AS min_value,
    max(user_value) AS max_value,
    if(count() > 1, stddevSampStable(user_value), NULL) AS std_dev
FROM (
    SELECT
        members.cohort_id AS cohort_id,
        metrics.metric_name AS metric_name,
        metrics.period_start AS period_start,
        metrics.user_id AS user_id,
        avg(metrics.metric_value) AS user_value
    FROM metrics_timeseries AS metrics FINAL
    INNER JOIN user_cohorts AS members FINAL
        ON members.company_id = metrics.company_id AND members.user_id = metrics.user_id
    GROUP BY cohort_id, metric_name, period_start, user_id
)
GROUP BY cohort_id, metric_name, period_start;

CREATE OR REPLACE VIEW daily_event_counts_mv AS
SELECT
    company_id,
    event_type,
    toDate(timestamp) AS event_date,
    count() AS event_count,
    uniqExact(user_id) AS unique_users
FROM events FINAL
GROUP BY company_id, event_type, event_date;

CREATE OR REPLACE VIEW hourly_metrics_mv AS
SELECT
    company_id,
    metric_name,
    toStartOfHour(timestamp) AS hour_start,
    avg(metric_value) AS avg_value,
    max(metric_value) AS max_value,
    min(metric_value) AS min_value,
    count() AS sample_count
FROM metrics_timeseries FINAL
GROUP BY company_id, metric_name, hour_start;
