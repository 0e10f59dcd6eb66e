-- Called by pipelines retention.policies; the key (dataset, company_id).
INSERT INTO retention_policies (dataset, company_id, days, reason)
VALUES (%(dataset)s, %(company_id)s, %(days)s, %(reason)s)
ON CONFLICT (dataset, company_id) DO UPDATE
SET days = excluded.days, reason = excluded.reason, updated_at = now()
