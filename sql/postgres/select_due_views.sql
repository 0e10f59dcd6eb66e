-- Called by the schedule of pipelines materialized_views: which views to refresh now.
SELECT due_analytics_materialized_views(%(moment)s)
