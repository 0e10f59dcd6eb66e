-- Called by pipelines retention.erasure for a whole company; the cohort sync deletes the same rows
-- once more, from its log.
ALTER TABLE cohorts DELETE
WHERE company_id = {company_id:String} AND created_at <= {upto:DateTime64(3, 'UTC')}
  AND isNull({user_id:Nullable(String)})
SETTINGS mutations_sync = 2, log_queries = 0
