-- Called by pipelines materialized_views.columns: names and types of a view's columns. Leans on
-- pg_attribute's key (attrelid, attnum).
SELECT attname, format_type(atttypid, atttypmod)
FROM pg_attribute
WHERE attrelid = to_regclass(%(view)s) AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
