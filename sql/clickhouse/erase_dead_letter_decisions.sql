-- Called by pipelines retention.erasure: what was decided about letters that are erased.
ALTER TABLE dead_letter_decisions DELETE
WHERE dead_letter_id IN {dead_letter_ids:Array(String)}
SETTINGS mutations_sync = 2, log_queries = 0
