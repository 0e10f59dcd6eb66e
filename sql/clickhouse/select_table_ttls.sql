-- Called by pipelines retention.checks: tables whose definition lets the engine delete by itself.
SELECT name, engine_full
FROM system.tables
WHERE database = currentDatabase() AND name IN {tables:Array(String)}
  AND match(engine_full, '(?i)\\bTTL\\b')
ORDER BY name
