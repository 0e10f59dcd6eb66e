-- Called by pipelines retention.erasure; the cohort sync deletes the same rows once more, from its log.
ALTER TABLE user_cohorts DELETE
WHERE company_id = {company_id:String} AND joined_at <= {upto:DateTime64(3, 'UTC')}
  AND (isNull({user_id:Nullable(String)}) OR user_id = {user_id:Nullable(String)})
SETTINGS mutations_sync = 2, log_queries = 0
