-- Called by pipelines materialized_views.cadence: which views to refresh now.
SELECT due_analytics_materialized_views(%(moment)s)
