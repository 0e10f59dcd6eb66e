-- Called by the cohort API in the transaction that writes a cohort's filters; leans on
-- users_company_language_idx and user_cohorts_filter_idx. Writes only the difference: rows that are
-- right already, and rows made by a person, are not touched. The filters come as a jsonpath
-- with its variables (cohort_filters.predicate); `languages` only lets the index be used.
WITH wanted AS MATERIALIZED (
    SELECT users.id AS user_id
    FROM users
    WHERE users.company_id = %(company_id)s
      AND (%(languages)s::text[] IS NULL OR users.language = ANY (%(languages)s::text[]))
      AND jsonb_path_match(
          jsonb_build_object(
              'language', users.language,
              'program', users.program,
              'role', users.role,
              'joined', extract(epoch FROM users.joined_at)
          ),
          %(path)s::jsonpath, %(variables)s::jsonb, silent => true
      )
), removed AS (
    DELETE FROM user_cohorts AS members
    WHERE members.cohort_id = %(cohort_id)s AND members.joined_by = 'filter'
      AND NOT EXISTS (SELECT FROM wanted WHERE wanted.user_id = members.user_id)
    RETURNING 1
), added AS (
    INSERT INTO user_cohorts (user_id, cohort_id, company_id, joined_by)
    SELECT wanted.user_id, %(cohort_id)s, %(company_id)s, 'filter'
    FROM wanted
    WHERE NOT EXISTS (
        SELECT FROM user_cohorts AS members
        WHERE members.cohort_id = %(cohort_id)s AND members.user_id = wanted.user_id
    )
    ORDER BY wanted.user_id
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM added) AS added, (SELECT count(*) FROM removed) AS removed;
