-- Called by the sidecar's proofs: whether a metric event has its row. Leans on the whole key.
SELECT count()
FROM metrics_timeseries
WHERE company_id = {company_id:String}
  AND metric_name = {metric_name:String}
  AND period_start = {period_start:Date}
  AND event_id = {event_id:String}
