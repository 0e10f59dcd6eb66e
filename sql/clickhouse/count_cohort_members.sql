-- Called by GET /cohort/{id}/retention. Leans on the key (company_id, cohort_id, …).
SELECT count()
FROM user_cohorts
WHERE company_id = {company_id:String} AND cohort_id = {cohort_id:String}
