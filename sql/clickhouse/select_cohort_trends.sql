-- Called by GET /cohort/{id}/trends: the newest periods first. Leans on the keys (company_id,
-- metric_name, period_start, …) of metrics_timeseries and (company_id, cohort_id, …) of user_cohorts.
SELECT period_start, avg(user_value) AS avg_value
FROM (
    SELECT period_start, user_id, avg(metric_value) AS user_value
    FROM metrics_timeseries
    WHERE company_id = {company_id:String}
      AND metric_name = {metric:String}
      AND user_id IN (
          SELECT user_id
          FROM user_cohorts
          WHERE company_id = {company_id:String} AND cohort_id = {cohort_id:String}
      )
    GROUP BY period_start, user_id
)
GROUP BY period_start
ORDER BY period_start DESC
LIMIT {row_limit:UInt32}
