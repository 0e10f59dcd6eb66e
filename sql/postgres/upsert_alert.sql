-- Called by pipelines alerts.store for each alert of a tick that is new or changed. Key (key, opened_at).
INSERT INTO alerts (key, opened_at, severity, "text", see, next_send_at, last_sent_at, sends, told_to,
                    resolved_at, resolution_sent_at)
VALUES (%(key)s, %(opened_at)s, %(severity)s, %(text)s, %(see)s, %(next_send_at)s, %(last_sent_at)s,
        %(sends)s, %(told_to)s, %(resolved_at)s, %(resolution_sent_at)s)
ON CONFLICT (key, opened_at) DO UPDATE SET
    severity = excluded.severity, "text" = excluded."text", see = excluded.see,
    next_send_at = excluded.next_send_at, last_sent_at = excluded.last_sent_at,
    sends = excluded.sends, told_to = excluded.told_to, resolved_at = excluded.resolved_at,
    resolution_sent_at = excluded.resolution_sent_at
