-- Called by pipelines retention.erasure; see select_subject_letters, whose predicate this repeats.
ALTER TABLE dead_letters DELETE
WHERE received_at <= {upto:DateTime64(3, 'UTC')}
  AND ((company_id = {company_id:String} AND isNull({user_id:Nullable(String)}))
       OR (ifNull(company_id, {company_id:String}) = {company_id:String}
           AND if({any_case:Bool}, positionCaseInsensitive(payload, {needle:String}), position(payload, {needle:String})) > 0))
SETTINGS mutations_sync = 2, log_queries = 0
