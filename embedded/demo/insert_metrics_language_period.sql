-- Called by embedded.demo.rows; leans on the primary key.
INSERT INTO metrics_language_period (
    company_id, language_group, period_start, participants, avg_integration_score,
    avg_bridge_connections, avg_cross_language_rate
)
VALUES (
    %(company_id)s, %(language)s, %(period_start)s, %(participants)s, %(integration)s,
    %(bridge_connections)s, %(cross_language_rate)s
)
ON CONFLICT DO NOTHING
