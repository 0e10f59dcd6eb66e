-- Called by GET /cohort/{id}/overview without a period: the latest with data of any metric. Leans on
-- company_id, the first column of both keys.
SELECT max(period_start), count()
FROM metrics_timeseries
WHERE company_id = {company_id:String}
  AND user_id IN (
      SELECT user_id
      FROM user_cohorts
      WHERE company_id = {company_id:String} AND cohort_id = {cohort_id:String}
  )
