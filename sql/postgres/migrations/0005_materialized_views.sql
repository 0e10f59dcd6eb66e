-- The platform's dashboards by company, program, language group and journey stage. Every figure is
-- for one company. The unique indexes are what REFRESH … CONCURRENTLY needs, and the lookup by
-- company. They are filled by the last statement of the next migration, which also logs it.
--
-- Two rules hold throughout. The sources count the people of a period, and mostly the same people
-- come again in the next: a sum would count them twice, so a total of people is the greatest
-- count of any one period, which many different people there have been for certain. Averages are
-- weighted by the participants they were taken over: sum(average * participants) divided by
-- sum(participants), over the periods in which that average is known. NULL where nobody was.

-- total_participants             greatest `participants` of any period
-- overall_integration_score      participant-weighted mean of avg_integration_score
-- overall_social_capital_score   participant-weighted mean of avg_social_capital_score
-- overall_sroi                   participant-weighted mean of sroi
-- total_matches                  greatest `total_matches` of any period (a match lasts over periods)
-- active_matches                 `active_matches` of the last period: it is a state, not a flow
CREATE MATERIALIZED VIEW company_dashboard_mv AS
SELECT
    company_id,
    max(period_start) AS last_period,
    max(participants)::bigint AS total_participants,
    sum(avg_integration_score * participants)
        / nullif(sum(participants) FILTER (WHERE avg_integration_score IS NOT NULL), 0)
        AS overall_integration_score,
    sum(avg_social_capital_score * participants)
        / nullif(sum(participants) FILTER (WHERE avg_social_capital_score IS NOT NULL), 0)
        AS overall_social_capital_score,
    sum(sroi * participants)
        / nullif(sum(participants) FILTER (WHERE sroi IS NOT NULL), 0)
        AS overall_sroi,
    max(total_matches)::bigint AS total_matches,
    ((array_agg(active_matches ORDER BY period_start DESC))[1])::bigint AS active_matches,
    count(*) AS periods_tracked
FROM metrics_company_period
GROUP BY company_id
WITH NO DATA;
CREATE UNIQUE INDEX company_dashboard_mv_key ON company_dashboard_mv (company_id);

-- total_participants          greatest `participants` of any period of the program
-- avg_match_quality           participant-weighted mean of avg_match_quality
-- avg_interaction_frequency   participant-weighted mean of avg_interaction_frequency
-- completed_milestones        sum over periods: a milestone is completed once, in one period
CREATE MATERIALIZED VIEW program_performance_mv AS
SELECT
    company_id,
    program_type,
    max(period_start) AS last_period,
    max(participants)::bigint AS total_participants,
    sum(avg_match_quality * participants)
        / nullif(sum(participants) FILTER (WHERE avg_match_quality IS NOT NULL), 0)
        AS avg_match_quality,
    sum(avg_interaction_frequency * participants)
        / nullif(sum(participants) FILTER (WHERE avg_interaction_frequency IS NOT NULL), 0)
        AS avg_interaction_frequency,
    sum(completed_milestones)::bigint AS completed_milestones,
    count(*) AS periods_tracked
FROM metrics_program_period
GROUP BY company_id, program_type
WITH NO DATA;
CREATE UNIQUE INDEX program_performance_mv_key
    ON program_performance_mv (company_id, program_type);

-- total_participants        greatest `participants` of any period of the language group
-- avg_integration_score     participant-weighted mean of avg_integration_score
-- avg_bridge_connections    participant-weighted mean of avg_bridge_connections
-- avg_cross_language_rate   participant-weighted mean of avg_cross_language_rate
CREATE MATERIALIZED VIEW language_group_performance_mv AS
SELECT
    company_id,
    language_group,
    max(period_start) AS last_period,
    max(participants)::bigint AS total_participants,
    sum(avg_integration_score * participants)
        / nullif(sum(participants) FILTER (WHERE avg_integration_score IS NOT NULL), 0)
        AS avg_integration_score,
    sum(avg_bridge_connections * participants)
        / nullif(sum(participants) FILTER (WHERE avg_bridge_connections IS NOT NULL), 0)
        AS avg_bridge_connections,
    sum(avg_cross_language_rate * participants)
        / nullif(sum(participants) FILTER (WHERE avg_cross_language_rate IS NOT NULL), 0)
        AS avg_cross_language_rate,
    count(*) AS periods_tracked
FROM metrics_language_period
GROUP BY company_id, language_group
WITH NO DATA;
CREATE UNIQUE INDEX language_group_performance_mv_key
    ON language_group_performance_mv (company_id, language_group);

-- user_count          users in the stage now; a user is in one stage of a company (the source's key)
-- avg_days_in_stage   mean of days since stage_entered_at, as of the refresh; the future counts as 0
CREATE MATERIALIZED VIEW journey_stage_distribution_mv AS
SELECT
    company_id,
    current_stage,
    count(*) AS user_count,
    avg(greatest(extract(epoch FROM now() - stage_entered_at) / 86400, 0))::double precision
        AS avg_days_in_stage
FROM user_journeys
GROUP BY company_id, current_stage
WITH NO DATA;
CREATE UNIQUE INDEX journey_stage_distribution_mv_key
    ON journey_stage_distribution_mv (company_id, current_stage);
