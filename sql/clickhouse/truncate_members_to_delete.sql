-- Called by pipelines cohorts.warehouse before keys are written and after they are deleted.
TRUNCATE TABLE user_cohorts_to_delete
