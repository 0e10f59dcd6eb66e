-- Called by GET /cohort/{id}/overview: all metrics of one period. Leans on company_id, the first
-- column of both keys, and on the month's partition. A user is one observation: the mean of their
-- values.
SELECT metric_name, avg(user_value) AS avg_value
FROM (
    SELECT metric_name, user_id, avg(metric_value) AS user_value
    FROM metrics_timeseries
    WHERE company_id = {company_id:String}
      AND period_start = {period_start:Date}
      AND user_id IN (
          SELECT user_id
          FROM user_cohorts
          WHERE company_id = {company_id:String} AND cohort_id = {cohort_id:String}
      )
    GROUP BY metric_name, user_id
)
GROUP BY metric_name
ORDER BY metric_name
