-- Called by pipelines retention.erasure: rows of a company, or of one of its users, up to a moment, store
-- by store. Leans on company_id, the first of the sorting keys; payloads are searched for whole ids.
-- The predicates are those of the erase_… statements.
SELECT 'events' AS store, count() AS found FROM events FINAL
WHERE company_id = {company_id:String} AND received_at <= {upto:DateTime64(3, 'UTC')}
  AND (isNull({user_id:Nullable(String)}) OR user_id = {user_id:Nullable(String)}
       OR if({any_case:Bool}, positionCaseInsensitive(payload, {needle:String}), position(payload, {needle:String})) > 0)
UNION ALL
SELECT 'metrics_timeseries', count() FROM metrics_timeseries FINAL
WHERE company_id = {company_id:String}
  AND toInt64OrZero(splitByChar('-', event_id)[-1]) <= toUnixTimestamp64Milli({upto:DateTime64(3, 'UTC')})
  AND (isNull({user_id:Nullable(String)}) OR user_id = {user_id:Nullable(String)}
       OR if({any_case:Bool}, positionCaseInsensitive(dimensions, {needle:String}), position(dimensions, {needle:String})) > 0)
UNION ALL
SELECT 'user_cohorts', count() FROM user_cohorts FINAL
WHERE company_id = {company_id:String} AND joined_at <= {upto:DateTime64(3, 'UTC')}
  AND (isNull({user_id:Nullable(String)}) OR user_id = {user_id:Nullable(String)})
UNION ALL
SELECT 'cohorts', count() FROM cohorts FINAL
WHERE company_id = {company_id:String} AND created_at <= {upto:DateTime64(3, 'UTC')}
  AND isNull({user_id:Nullable(String)})
UNION ALL
SELECT 'dead_letters', count() FROM dead_letters FINAL
WHERE received_at <= {upto:DateTime64(3, 'UTC')}
  AND ((company_id = {company_id:String} AND isNull({user_id:Nullable(String)}))
       OR (ifNull(company_id, {company_id:String}) = {company_id:String}
           AND if({any_case:Bool}, positionCaseInsensitive(payload, {needle:String}), position(payload, {needle:String})) > 0))
UNION ALL
SELECT 'reconciliations', count() FROM reconciliations
WHERE company_id = {company_id:String} AND hour <= {upto:DateTime64(3, 'UTC')}
  AND isNull({user_id:Nullable(String)})
