-- Called by pipelines retention.erasure: rows of a company, or of one of its users, up to a moment, store
-- by store. The predicates are those of erase_subject.
SELECT 'users' AS store, count(*) AS found FROM users
WHERE company_id = %(company_id)s AND created_at <= %(upto)s
  AND (%(user_id)s::text IS NULL OR id = %(user_uuid)s::uuid)
UNION ALL
SELECT 'company_users', count(*) FROM company_users
WHERE company_id = %(company_id)s AND created_at <= %(upto)s
  AND (%(user_id)s::text IS NULL OR user_id = %(user_uuid)s::uuid)
UNION ALL
SELECT 'user_journeys', count(*) FROM user_journeys
WHERE company_id = %(company_id)s AND updated_at <= %(upto)s
  AND (%(user_id)s::text IS NULL OR user_id = %(user_uuid)s::uuid)
UNION ALL
SELECT 'user_cohorts', count(*) FROM user_cohorts
WHERE company_id = %(company_id)s AND joined_at <= %(upto)s
  AND (%(user_id)s::text IS NULL OR user_id = %(user_uuid)s::uuid)
UNION ALL
SELECT 'user_cohorts.joined_by', count(*) FROM user_cohorts
WHERE company_id = %(company_id)s AND joined_at <= %(upto)s AND joined_by = %(user_id)s::text
UNION ALL
SELECT 'cohorts.created_by', count(*) FROM cohorts
WHERE company_id = %(company_id)s AND created_at <= %(upto)s AND created_by = %(user_id)s::text
UNION ALL
SELECT 'cohorts', count(*) FROM cohorts
WHERE company_id = %(company_id)s AND created_at <= %(upto)s AND %(user_id)s::text IS NULL
UNION ALL
SELECT 'metrics_company_period', count(*) FROM metrics_company_period
WHERE company_id = %(company_id)s AND updated_at <= %(upto)s AND %(user_id)s::text IS NULL
UNION ALL
SELECT 'metrics_program_period', count(*) FROM metrics_program_period
WHERE company_id = %(company_id)s AND updated_at <= %(upto)s AND %(user_id)s::text IS NULL
UNION ALL
SELECT 'metrics_language_period', count(*) FROM metrics_language_period
WHERE company_id = %(company_id)s AND updated_at <= %(upto)s AND %(user_id)s::text IS NULL
UNION ALL
SELECT 'retention_policies', count(*) FROM retention_policies
WHERE company_id = %(company_id)s AND created_at <= %(upto)s AND %(user_id)s::text IS NULL
UNION ALL
SELECT 'companies', count(*) FROM companies
WHERE id = %(company_id)s AND created_at <= %(upto)s AND %(user_id)s::text IS NULL
