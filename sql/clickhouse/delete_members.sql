-- Called by pipelines cohorts.warehouse, whose lock keeps user_cohorts_to_delete to one writer; the key
-- (company_id, cohort_id, user_id), of which the first two narrow what is read.
DELETE FROM user_cohorts
WHERE company_id IN (SELECT company_id FROM user_cohorts_to_delete)
  AND cohort_id IN (SELECT cohort_id FROM user_cohorts_to_delete)
  AND (company_id, cohort_id, user_id)
      IN (SELECT company_id, cohort_id, user_id FROM user_cohorts_to_delete)
