-- Called by pipelines cohorts.comparison; leans on the unique key (company_id, name) of cohorts.
SELECT
    id::text, company_id, name, coalesce(description, ''), warehouse_json(filters),
    warehouse_milliseconds(created_at), warehouse_milliseconds(updated_at)
FROM cohorts
WHERE company_id = ANY (%(company_ids)s::text[]);
