-- Called by benchmarks.materialized_views; ten language groups a company, a period a day.
INSERT INTO metrics_language_period (company_id, language_group, period_start, participants,
    avg_integration_score, avg_bridge_connections, avg_cross_language_rate)
SELECT 'company-' || company, 'language-' || language, date '2024-01-01' + period,
    10 + (company * 7 + period) %% 90, ((company + period) %% 100) / 100.0,
    ((company * 3 + period) %% 70) / 10.0, ((company + period * 3) %% 100) / 100.0
FROM generate_series(1, %(companies)s::int / 10) AS company, generate_series(1, 10) AS language,
    generate_series(0, 499) AS period
