-- Called by pipelines cohorts.change_log, `analytics import` and the sidecar; the key of processing_checkpoints.
SELECT position FROM processing_checkpoints FINAL WHERE name = {name:String}
