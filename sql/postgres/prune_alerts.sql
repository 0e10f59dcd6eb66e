-- Called by pipelines alerts.store once a tick: resolved alerts of which everything is told. Leans on
-- alerts_resolved_idx.
DELETE FROM alerts
WHERE resolved_at < %(resolved_before)s
  AND (resolution_sent_at IS NOT NULL OR sends = 0 AND next_send_at > resolved_at)
