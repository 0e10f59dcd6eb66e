-- The third layer of tenant isolation, for a real server: a reader that can't see another company's
-- rows even by a statement that forgot its predicate. Run once, as an administrator, after the
-- migrations:
--     clickhouse-client --multiquery < deploy/clickhouse/row_policies.sql
-- The embedded engine has no users; there the predicates and the token are the two layers.
--
-- For tools that speak SQL themselves (a BI client, an analyst): the user's company is a setting that
-- the user can't change, so one role and one set of policies serve every company. A user is made by
--     CREATE USER acme_reader IDENTIFIED BY '…' SETTINGS SQL_company_id = 'acme' READONLY;
--     GRANT company_reader TO acme_reader;
-- The server needs <custom_settings_prefixes>SQL_</custom_settings_prefixes>, which is its default.

CREATE ROLE IF NOT EXISTS company_reader SETTINGS readonly = 1, final = 1;

GRANT SELECT ON teei_analytics.events TO company_reader;
GRANT SELECT ON teei_analytics.metrics_timeseries TO company_reader;
GRANT SELECT ON teei_analytics.cohorts TO company_reader;
GRANT SELECT ON teei_analytics.user_cohorts TO company_reader;
-- The views run with the rights of who reads them, so the policies of their tables hold in them.
GRANT SELECT ON teei_analytics.cohort_metrics_mv TO company_reader;
GRANT SELECT ON teei_analytics.daily_event_counts_mv TO company_reader;
GRANT SELECT ON teei_analytics.hourly_metrics_mv TO company_reader;

CREATE ROW POLICY IF NOT EXISTS own_company
    ON teei_analytics.events, teei_analytics.metrics_timeseries,
       teei_analytics.cohorts, teei_analytics.user_cohorts
    FOR SELECT USING company_id = getSetting('SQL_company_id') TO company_reader;

-- A table with a policy for somebody shows nothing to everybody else: the system's own users write,
-- sync and read every company.
CREATE ROW POLICY IF NOT EXISTS every_company
    ON teei_analytics.events, teei_analytics.metrics_timeseries,
       teei_analytics.cohorts, teei_analytics.user_cohorts
    FOR SELECT USING 1 TO ALL EXCEPT company_reader;
