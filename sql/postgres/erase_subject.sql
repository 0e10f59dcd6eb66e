-- Called by pipelines retention.erasure: all rows of a company, or of one of its users, up to a moment, in
-- one statement and so in one transaction. A member's row goes by its user's and its cohort's key as
-- well. The predicates are those of count_subject_rows; what was written by the user about others
-- stays, without their id.
WITH members AS (
    DELETE FROM user_cohorts
    WHERE company_id = %(company_id)s AND joined_at <= %(upto)s
      AND (%(user_id)s::text IS NULL OR user_id = %(user_uuid)s::uuid)
    RETURNING 1
), joined_by AS (
    UPDATE user_cohorts SET joined_by = 'erased'
    WHERE company_id = %(company_id)s AND joined_at <= %(upto)s AND joined_by = %(user_id)s::text
      AND user_id IS DISTINCT FROM %(user_uuid)s::uuid
    RETURNING 1
), created_by AS (
    UPDATE cohorts SET created_by = NULL
    WHERE company_id = %(company_id)s AND created_at <= %(upto)s AND created_by = %(user_id)s::text
    RETURNING 1
), journeys AS (
    DELETE FROM user_journeys
    WHERE company_id = %(company_id)s AND updated_at <= %(upto)s
      AND (%(user_id)s::text IS NULL OR user_id = %(user_uuid)s::uuid)
    RETURNING 1
), company_members AS (
    DELETE FROM company_users
    WHERE company_id = %(company_id)s AND created_at <= %(upto)s
      AND (%(user_id)s::text IS NULL OR user_id = %(user_uuid)s::uuid)
    RETURNING 1
), people AS (
    DELETE FROM users
    WHERE company_id = %(company_id)s AND created_at <= %(upto)s
      AND (%(user_id)s::text IS NULL OR id = %(user_uuid)s::uuid)
    RETURNING 1
), groups AS (
    DELETE FROM cohorts
    WHERE company_id = %(company_id)s AND created_at <= %(upto)s AND %(user_id)s::text IS NULL
    RETURNING 1
), company_periods AS (
    DELETE FROM metrics_company_period
    WHERE company_id = %(company_id)s AND updated_at <= %(upto)s AND %(user_id)s::text IS NULL
    RETURNING 1
), program_periods AS (
    DELETE FROM metrics_program_period
    WHERE company_id = %(company_id)s AND updated_at <= %(upto)s AND %(user_id)s::text IS NULL
    RETURNING 1
), language_periods AS (
    DELETE FROM metrics_language_period
    WHERE company_id = %(company_id)s AND updated_at <= %(upto)s AND %(user_id)s::text IS NULL
    RETURNING 1
), policies AS (
    DELETE FROM retention_policies
    WHERE company_id = %(company_id)s AND created_at <= %(upto)s AND %(user_id)s::text IS NULL
    RETURNING 1
), company AS (
    DELETE FROM companies
    WHERE id = %(company_id)s AND created_at <= %(upto)s AND %(user_id)s::text IS NULL
    RETURNING 1
)
SELECT 'users' AS store, count(*) AS erased FROM people
UNION ALL SELECT 'company_users', count(*) FROM company_members
UNION ALL SELECT 'user_journeys', count(*) FROM journeys
UNION ALL SELECT 'user_cohorts', count(*) FROM members
UNION ALL SELECT 'user_cohorts.joined_by', count(*) FROM joined_by
UNION ALL SELECT 'cohorts.created_by', count(*) FROM created_by
UNION ALL SELECT 'cohorts', count(*) FROM groups
UNION ALL SELECT 'metrics_company_period', count(*) FROM company_periods
UNION ALL SELECT 'metrics_program_period', count(*) FROM program_periods
UNION ALL SELECT 'metrics_language_period', count(*) FROM language_periods
UNION ALL SELECT 'retention_policies', count(*) FROM policies
UNION ALL SELECT 'companies', count(*) FROM company
