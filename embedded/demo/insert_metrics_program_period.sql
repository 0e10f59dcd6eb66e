-- Called by embedded.demo.rows; leans on the primary key.
INSERT INTO metrics_program_period (
    company_id, program_type, period_start, participants, avg_match_quality,
    avg_interaction_frequency, completed_milestones
)
VALUES (
    %(company_id)s, %(program)s, %(period_start)s, %(participants)s, %(match_quality)s,
    %(interaction_frequency)s, %(milestones)s
)
ON CONFLICT DO NOTHING
