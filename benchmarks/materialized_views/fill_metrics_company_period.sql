-- Called by benchmarks.materialized_views; %(companies)s companies with a period a day.
INSERT INTO metrics_company_period (company_id, period_start, participants, avg_integration_score,
    avg_social_capital_score, sroi, total_matches, active_matches)
SELECT 'company-' || company, date '2024-01-01' + period, 10 + (company * 7 + period) %% 90,
    ((company + period) %% 100) / 100.0, ((company * 3 + period) %% 100) / 100.0,
    1 + ((company + period * 3) %% 50) / 10.0, period %% 40, period %% 20
FROM generate_series(1, %(companies)s::int) AS company, generate_series(0, 499) AS period
