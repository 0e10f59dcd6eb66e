-- The third layer of tenant isolation, for a real server: a reader that can't see another company's
-- rows even by a statement that forgot its predicate. The compose file's service row-policies runs
-- it after the migrations; on a server of your own run it as an administrator, it repeats safely:
--     clickhouse-client --queries-file deploy/clickhouse/row_policies.sql
-- The embedded engine has no users; there the predicates and the token are the two layers.
--
-- For tools that speak SQL themselves (a BI client, an analyst): the user's company is a setting that
-- the user can't change, so one role and one set of policies serve every company. A user is made by
--     CREATE USER acme_reader IDENTIFIED BY '…' SETTINGS SQL_company_id = 'acme' READONLY;
--     GRANT company_reader TO acme_reader;
-- The server needs <custom_settings_prefixes>SQL_</custom_settings_prefixes>, which is its default.

CREATE ROLE IF NOT EXISTS company_reader SETTINGS readonly = 1, final = 1;

-- A table with a policy for somebody shows nothing to everybody else: the system's own users write,
-- sync and read every company. First, so that they never find a table empty.
CREATE ROW POLICY OR REPLACE every_company
    ON teei_analytics.events, teei_analytics.metrics_timeseries,
       teei_analytics.cohorts, teei_analytics.user_cohorts
    FOR SELECT USING 1 TO ALL EXCEPT company_reader;

-- A reader without the setting gets an error.
CREATE ROW POLICY OR REPLACE own_company
    ON teei_analytics.events, teei_analytics.metrics_timeseries,
       teei_analytics.cohorts, teei_analytics.user_cohorts
    FOR SELECT USING company_id = getSetting('SQL_company_id') TO company_reader;

-- Last, so that the role never sees a table without its policy.
GRANT SELECT ON teei_analytics.events TO company_reader;
GRANT SELECT ON teei_analytics.metrics_timeseries TO company_reader;
GRANT SELECT ON teei_analytics.cohorts TO company_reader;
GRANT SELECT ON teei_analytics.user_cohorts TO company_reader;
-- The views run with the rights of who reads them, so the policies of their tables hold in them.
GRANT SELECT ON teei_analytics.cohort_metrics_mv TO company_reader;
GRANT SELECT ON teei_analytics.daily_event_counts_mv TO company_reader;
GRANT SELECT ON teei_analytics.hourly_metrics_mv TO company_reader;
