-- Called by embedded.demo.rows; leans on the primary key and on (company_id, name).
INSERT INTO cohorts (id, company_id, name, description, filters, created_by)
VALUES (%(id)s, %(company_id)s, %(name)s, %(description)s, %(filters)s, 'demo')
ON CONFLICT DO NOTHING
