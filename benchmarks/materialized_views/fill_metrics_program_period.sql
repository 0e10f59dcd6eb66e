-- Called by benchmarks.materialized_views; ten programs a company, a period a day.
INSERT INTO metrics_program_period (company_id, program_type, period_start, participants,
    avg_match_quality, avg_interaction_frequency, completed_milestones)
SELECT 'company-' || company, 'program-' || program, date '2024-01-01' + period,
    10 + (company * 7 + period) %% 90, ((company + period) %% 100) / 100.0,
    ((company * 3 + period) %% 70) / 10.0, period %% 4
FROM generate_series(1, %(companies)s::int / 10) AS company, generate_series(1, 10) AS program,
    generate_series(0, 499) AS period
