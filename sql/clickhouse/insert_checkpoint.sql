-- Called by pipelines cohorts.change_log and by `analytics import`. The version is past the last one
-- even when the server's clock stepped back: an older checkpoint must not win.
INSERT INTO processing_checkpoints (name, position, updated_at)
SELECT {name:String}, {position:String}, greatest(now64(6, 'UTC'), max(updated_at) + toIntervalMicrosecond(1))
FROM processing_checkpoints
WHERE name = {name:String}
