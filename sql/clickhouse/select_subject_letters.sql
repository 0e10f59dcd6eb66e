-- Called by pipelines retention.erasure: letters of a company or that name one of its users.
-- A letter that names no company counts as any company's.
SELECT dead_letter_id FROM dead_letters FINAL
WHERE received_at <= {upto:DateTime64(3, 'UTC')}
  AND ((company_id = {company_id:String} AND isNull({user_id:Nullable(String)}))
       OR (ifNull(company_id, {company_id:String}) = {company_id:String}
           AND if({any_case:Bool}, positionCaseInsensitive(payload, {needle:String}), position(payload, {needle:String})) > 0))
