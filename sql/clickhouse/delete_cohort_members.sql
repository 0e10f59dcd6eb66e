-- Called by pipelines cohorts.warehouse for cohorts that are gone: all their memberships by one
-- predicate on the key (company_id, cohort_id, …).
DELETE FROM user_cohorts
WHERE company_id IN {company_ids:Array(String)} AND cohort_id IN {cohort_ids:Array(String)}
  AND concat(company_id, '/', cohort_id) IN {keys:Array(String)}
