-- Called by pipelines retention.erasure for a whole company: its lines of the hourly comparisons.
ALTER TABLE reconciliations DELETE
WHERE company_id = {company_id:String} AND hour <= {upto:DateTime64(3, 'UTC')}
  AND isNull({user_id:Nullable(String)})
SETTINGS mutations_sync = 2, log_queries = 0
