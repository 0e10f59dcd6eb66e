-- Called by GET /cohort/{id}/members: a page, with what filters can ask for. Leans on the primary key
-- (cohort_id, user_id) of user_cohorts, which is the order of the pages.
SELECT
    members.user_id::text, members.joined_at, members.joined_by,
    users.language, users.program, users.role, users.joined_at
FROM user_cohorts AS members
JOIN users ON users.id = members.user_id
WHERE members.cohort_id = %(cohort_id)s AND members.company_id = %(company_id)s
  AND members.user_id > %(after)s::uuid
ORDER BY members.user_id
LIMIT %(row_limit)s;
