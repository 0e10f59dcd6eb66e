-- Called by pipelines cohorts.warehouse; the key (company_id, cohort_id).
DELETE FROM cohorts
WHERE company_id IN {company_ids:Array(String)} AND cohort_id IN {cohort_ids:Array(String)}
  AND concat(company_id, '/', cohort_id) IN {keys:Array(String)}
