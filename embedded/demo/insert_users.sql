-- Called by embedded.demo.rows; leans on the primary key.
INSERT INTO users (id, company_id, email, role, language, program)
VALUES (%(id)s, %(company_id)s, %(email)s, %(role)s, %(language)s, %(program)s)
ON CONFLICT DO NOTHING
