-- Called by embedded.demo.rows; leans on the primary key.
INSERT INTO metrics_company_period (
    company_id, period_start, participants, avg_integration_score, avg_social_capital_score, sroi,
    total_matches, active_matches
)
VALUES (
    %(company_id)s, %(period_start)s, %(participants)s, %(integration)s, %(social_capital)s,
    %(sroi)s, %(total_matches)s, %(active_matches)s
)
ON CONFLICT DO NOTHING
