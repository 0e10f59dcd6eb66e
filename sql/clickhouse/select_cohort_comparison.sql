-- Called by POST /cohort/compare. Leans on the keys (company_id, metric_name, period_start, …) of
-- metrics_timeseries and (company_id, cohort_id, …) of user_cohorts.
SELECT
    cohort_id,
    avg(user_value) AS avg_value,
    count() AS sample_size,
    if(count() > 1, stddevSampStable(user_value), NULL) AS std_dev
FROM (
    SELECT members.cohort_id AS cohort_id, users.user_value AS user_value
    FROM (
        SELECT user_id, avg(metric_value) AS user_value
        FROM metrics_timeseries
        WHERE company_id = {company_id:String}
          AND metric_name = {metric:String}
          AND period_start = {period_start:Date}
        GROUP BY user_id
    ) AS users
    INNER JOIN (
        SELECT cohort_id, user_id
        FROM user_cohorts
        WHERE company_id = {company_id:String} AND cohort_id IN {cohort_ids:Array(String)}
    ) AS members ON members.user_id = users.user_id
)
GROUP BY cohort_id
