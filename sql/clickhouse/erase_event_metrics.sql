-- Called by pipelines retention.erasure: rows of metric events that are erased because they name a user.
ALTER TABLE metrics_timeseries DELETE
WHERE company_id = {company_id:String} AND event_id IN {event_ids:Array(String)}
SETTINGS mutations_sync = 2, log_queries = 0
