-- Called by pipelines retention.policies; the whole table: a row a dataset, and those of companies.
SELECT dataset, company_id, days FROM retention_policies ORDER BY dataset, company_id NULLS FIRST
