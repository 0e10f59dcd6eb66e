-- Called by pipelines materialized_views.refresh; the function takes the view's lock and writes the log.
SELECT status, duration_seconds, "rows", readers_blocked, source_mark::text, error
FROM refresh_analytics_materialized_view(%(view)s, %(caller)s);
