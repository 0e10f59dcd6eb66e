-- Called by embedded.demo.rows; leans on the primary key.
SELECT count(*) FROM companies WHERE id = ANY(%(ids)s)
