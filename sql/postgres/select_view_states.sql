-- Called by pipelines materialized_views.cadence: age and last error of each view, with its
-- cadence. Leans on analytics_mv_refreshes_view_idx.
SELECT fresh.matviewname, extract(epoch FROM fresh.age)::double precision, fresh.source_changes,
       fresh.error, listed.every_minutes, listed.first_hour, listed.last_hour
FROM analytics_mv_freshness AS fresh
JOIN analytics_mvs AS listed ON listed.view = fresh.matviewname
ORDER BY listed.position
