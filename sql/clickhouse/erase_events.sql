-- Called by pipelines retention.erasure. A mutation, which writes the parts anew: a lightweight delete
-- would leave the bytes on the disk until some merge.
ALTER TABLE events DELETE
WHERE company_id = {company_id:String} AND received_at <= {upto:DateTime64(3, 'UTC')}
  AND (isNull({user_id:Nullable(String)}) OR user_id = {user_id:Nullable(String)}
       OR if({any_case:Bool}, positionCaseInsensitive(payload, {needle:String}), position(payload, {needle:String})) > 0)
SETTINGS mutations_sync = 2, log_queries = 0
