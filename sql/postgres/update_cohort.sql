-- Called by PATCH /cohort/{id}; the primary key. What the request does not name stays as it is.
UPDATE cohorts SET
    name = CASE WHEN %(has_name)s THEN %(name)s ELSE name END,
    description = CASE WHEN %(has_description)s THEN %(description)s ELSE description END,
    filters = CASE WHEN %(has_filters)s THEN %(filters)s ELSE filters END
WHERE id = %(cohort_id)s AND company_id = %(company_id)s
RETURNING id::text;
