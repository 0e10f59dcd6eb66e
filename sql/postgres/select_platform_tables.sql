-- Called by pipelines backups.platform; the catalogue of relations, no data. Views are made from
-- tables again, so tables are all there is to compare.
SELECT relations.relname
FROM pg_class AS relations
JOIN pg_namespace AS schemas ON schemas.oid = relations.relnamespace
WHERE schemas.nspname = 'public' AND relations.relkind = 'r'
ORDER BY relations.relname
