-- Called by pipelines retention.erasure: metric events of others that name the user; their rows in
-- metrics_timeseries go with them. Leans on company_id, the first of the sorting key.
SELECT event_id FROM events FINAL
WHERE company_id = {company_id:String} AND received_at <= {upto:DateTime64(3, 'UTC')}
  AND startsWith(event_type, 'metrics.') AND ifNull(user_id, '') != {user_id:String}
  AND if({any_case:Bool}, positionCaseInsensitive(payload, {needle:String}), position(payload, {needle:String})) > 0
