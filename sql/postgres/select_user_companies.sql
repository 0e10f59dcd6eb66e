-- Called by pipelines retention.erasure: the companies in which the platform knows a user; by the
-- tables' keys.
SELECT company_id FROM users WHERE id = %(user_uuid)s::uuid
UNION
SELECT company_id FROM company_users WHERE user_id = %(user_uuid)s::uuid
UNION
SELECT company_id FROM user_journeys WHERE user_id = %(user_uuid)s::uuid
ORDER BY company_id
