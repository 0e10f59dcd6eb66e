-- Called by GET /cohort/top without a period: the latest with data of a member of any cohort. Leans on
-- the keys (company_id, metric_name, period_start, …) and (company_id, …).
SELECT max(period_start), count()
FROM metrics_timeseries
WHERE company_id = {company_id:String}
  AND metric_name = {metric:String}
  AND user_id IN (SELECT user_id FROM user_cohorts WHERE company_id = {company_id:String})
