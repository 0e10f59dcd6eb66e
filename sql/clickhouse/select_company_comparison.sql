-- Called by GET /cohort/top: every cohort of a company in one period. Leans on the keys (company_id,
-- metric_name, period_start, …) of metrics_timeseries and (company_id, …) of user_cohorts.
SELECT
    members.cohort_id AS cohort_id,
    avg(users.user_value) AS avg_value,
    count() AS sample_size,
    if(count() > 1, stddevSampStable(users.user_value), NULL) AS std_dev
FROM (
    SELECT cohort_id, user_id
    FROM user_cohorts
    WHERE company_id = {company_id:String}
) AS members
INNER JOIN (
    SELECT user_id, avg(metric_value) AS user_value
    FROM metrics_timeseries
    WHERE company_id = {company_id:String}
      AND metric_name = {metric:String}
      AND period_start = {period_start:Date}
    GROUP BY user_id
) AS users ON members.user_id = users.user_id
GROUP BY cohort_id
