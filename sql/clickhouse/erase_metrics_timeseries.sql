-- Called by pipelines retention.erasure. The event's time is the last part of its id; a row with an id of
-- another form is older than anything.
ALTER TABLE metrics_timeseries DELETE
WHERE company_id = {company_id:String}
  AND toInt64OrZero(splitByChar('-', event_id)[-1]) <= toUnixTimestamp64Milli({upto:DateTime64(3, 'UTC')})
  AND (isNull({user_id:Nullable(String)}) OR user_id = {user_id:Nullable(String)}
       OR if({any_case:Bool}, positionCaseInsensitive(dimensions, {needle:String}), position(dimensions, {needle:String})) > 0)
SETTINGS mutations_sync = 2, log_queries = 0
