-- Called by cli doctor, of the engine's list of mutations: those that are not done, the ones that
-- fail first.
SELECT table, command, dateDiff('second', create_time, now()), latest_fail_reason
FROM system.mutations
WHERE NOT is_done AND database = currentDatabase()
ORDER BY latest_fail_reason = '', create_time
LIMIT 20
