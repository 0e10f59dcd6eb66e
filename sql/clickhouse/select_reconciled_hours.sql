-- Called by the schedule of pipelines reconciliation: what the latest check of each hour said. Leans
-- on the key (hour, company_id, …).
SELECT hour, argMax(state, checked_at)
FROM reconciliations
WHERE hour >= {since:DateTime('UTC')} AND company_id = '*'
GROUP BY hour
