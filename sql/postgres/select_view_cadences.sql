-- Called by pipelines materialized_views.cadence while definitions are loaded; four rows.
SELECT view, every_minutes, first_hour, last_hour FROM analytics_mvs
