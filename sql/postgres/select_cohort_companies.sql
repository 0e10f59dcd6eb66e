-- Called by pipelines cohorts.partitions; leans on the unique key (company_id, name) of cohorts.
SELECT DISTINCT company_id FROM cohorts;
