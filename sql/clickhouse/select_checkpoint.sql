-- Called by pipelines cohorts.change_log and `analytics import`; the key of processing_checkpoints.
SELECT position FROM processing_checkpoints FINAL WHERE name = {name:String}
