-- Called by DELETE /cohort/{id}; the primary key. Its members go with it by the foreign key.
DELETE FROM cohorts
WHERE id = %(cohort_id)s AND company_id = %(company_id)s
RETURNING id::text;
