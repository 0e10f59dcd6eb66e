-- Called by benchmarks.materialized_views; 5,000 users a company in six stages.
INSERT INTO user_journeys (user_id, company_id, current_stage, stage_entered_at)
SELECT gen_random_uuid(), 'company-' || company, 'stage-' || person %% 6,
    now() - make_interval(hours => (company + person) %% 5000)
FROM generate_series(1, %(companies)s::int / 10) AS company, generate_series(1, 5000) AS person
