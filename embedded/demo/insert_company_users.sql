-- Called by embedded.demo.rows; leans on the primary key.
INSERT INTO company_users (company_id, user_id, role)
VALUES (%(company_id)s, %(id)s, %(role)s)
ON CONFLICT DO NOTHING
