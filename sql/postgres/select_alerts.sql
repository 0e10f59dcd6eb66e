-- Called by pipelines alerts.store: open alerts, and resolved ones that are not told or just closed.
-- Leans on alerts_open_idx and alerts_resolved_idx.
SELECT key, opened_at, severity, "text", see, next_send_at, last_sent_at, sends, told_to, resolved_at,
       resolution_sent_at
FROM alerts
WHERE resolved_at IS NULL
   OR resolved_at >= %(resolved_since)s
   OR resolution_sent_at IS NULL AND (sends > 0 OR next_send_at <= resolved_at)
ORDER BY opened_at, key
