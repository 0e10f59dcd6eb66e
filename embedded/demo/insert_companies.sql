-- Called by embedded.demo.rows; leans on the primary key.
INSERT INTO companies (id, name) VALUES (%(id)s, %(name)s)
ON CONFLICT DO NOTHING
