-- Called by pipelines retention.stores after an erasure: what dashboards show is without it at once.
SELECT refresh_analytics_materialized_views()
