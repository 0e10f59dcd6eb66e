-- Called by embedded.demo.rows; leans on the primary key.
INSERT INTO user_journeys (user_id, company_id, current_stage, stage_entered_at)
VALUES (%(id)s, %(company_id)s, %(stage)s, %(entered)s)
ON CONFLICT DO NOTHING
