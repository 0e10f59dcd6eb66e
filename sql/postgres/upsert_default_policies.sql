-- Called by pipelines retention.policies; the key (dataset, company_id). Default rows follow the
-- settings; a row that is right already is not written.
INSERT INTO retention_policies (dataset, company_id, days)
VALUES (%(dataset)s, NULL, %(days)s)
ON CONFLICT (dataset, company_id) DO UPDATE SET days = excluded.days, updated_at = now()
WHERE retention_policies.days <> excluded.days
RETURNING dataset
