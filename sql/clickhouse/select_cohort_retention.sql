-- Called by GET /cohort/{id}/retention: members with an event, a period. Periods come as their first
-- milliseconds, because their lengths depend on the time zone. Leans on company_id, the first column
-- of both keys.
SELECT
    roundDown(toUnixTimestamp64Milli(timestamp), {starts_ms:Array(Int64)}) AS start_ms,
    uniqExact(user_id) AS returned
FROM events
WHERE company_id = {company_id:String}
  AND event_type = {event:String}
  AND timestamp >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC')
  AND user_id IN (
      SELECT user_id
      FROM user_cohorts
      WHERE company_id = {company_id:String} AND cohort_id = {cohort_id:String}
  )
GROUP BY start_ms
