-- Called by POST /cohort; the unique key (company_id, name) refuses a second one of the name.
INSERT INTO cohorts (company_id, name, description, filters, created_by)
VALUES (%(company_id)s, %(name)s, %(description)s, %(filters)s, %(created_by)s)
RETURNING id::text;
