-- Called by pipelines cohorts.membership for users who changed, against the cohorts of their
-- companies; leans on the keys of users and user_cohorts. As evaluate_cohort_members, for these users.
WITH given AS MATERIALIZED (
    SELECT
        cohorts.id AS cohort_id,
        cohorts.company_id,
        CASE WHEN filter.terms ? 'language'
            THEN ARRAY(SELECT jsonb_array_elements_text(filter.terms -> 'language')) END AS languages,
        CASE WHEN filter.terms ? 'program'
            THEN ARRAY(SELECT jsonb_array_elements_text(filter.terms -> 'program')) END AS programs,
        CASE WHEN filter.terms ? 'role'
            THEN ARRAY(SELECT jsonb_array_elements_text(filter.terms -> 'role')) END AS roles
    FROM unnest(%(cohort_ids)s::uuid[], %(filters)s::jsonb[]) AS filter (cohort_id, terms)
    JOIN cohorts ON cohorts.id = filter.cohort_id
), wanted AS MATERIALIZED (
    SELECT given.cohort_id, given.company_id, users.id AS user_id
    FROM given
    JOIN users ON users.company_id = given.company_id
    WHERE coalesce(given.languages, given.programs, given.roles) IS NOT NULL
      AND (given.languages IS NULL OR users.language = ANY (given.languages))
      AND (given.programs IS NULL OR users.program = ANY (given.programs))
      AND (given.roles IS NULL OR users.role = ANY (given.roles))
      AND users.id = ANY (%(user_ids)s::uuid[])
), removed AS (
    DELETE FROM user_cohorts AS members
    USING given
    WHERE members.cohort_id = given.cohort_id AND members.joined_by = 'filter'
      AND members.user_id = ANY (%(user_ids)s::uuid[])
      AND NOT EXISTS (
          SELECT FROM wanted
          WHERE wanted.cohort_id = members.cohort_id AND wanted.user_id = members.user_id
      )
    RETURNING 1
), added AS (
    INSERT INTO user_cohorts (user_id, cohort_id, company_id, joined_by)
    SELECT wanted.user_id, wanted.cohort_id, wanted.company_id, 'filter'
    FROM wanted
    WHERE NOT EXISTS (
        SELECT FROM user_cohorts AS members
        WHERE members.cohort_id = wanted.cohort_id AND members.user_id = wanted.user_id
    )
    ORDER BY wanted.cohort_id, wanted.user_id
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM added) AS added, (SELECT count(*) FROM removed) AS removed;
