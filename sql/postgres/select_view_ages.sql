-- Called by cli doctor; a row a materialised view. Age in seconds and changed source rows that are not
-- in it; both NULL for one that was never refreshed.
SELECT matviewname, extract(epoch FROM age)::double precision, source_changes, error
FROM analytics_mv_freshness;
