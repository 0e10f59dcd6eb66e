-- Called by GET /cohort/{id}/metrics. Leans on the keys (company_id, metric_name, period_start, …)
-- of metrics_timeseries and (company_id, cohort_id, …) of user_cohorts. A user is one observation in
-- a period: the mean of their values.
SELECT
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
    SELECT period_start, user_id, avg(metric_value) AS user_value
    FROM metrics_timeseries
    WHERE company_id = {company_id:String}
      AND metric_name = {metric:String}
      AND period_start >= {start_date:Date}
      AND period_start <= {end_date:Date}
      AND user_id IN (
          SELECT user_id
          FROM user_cohorts
          WHERE company_id = {company_id:String} AND cohort_id = {cohort_id:String}
      )
    GROUP BY period_start, user_id
)
GROUP BY period_start
ORDER BY period_start
LIMIT {row_limit:UInt32}
