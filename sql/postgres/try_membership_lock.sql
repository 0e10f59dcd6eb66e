-- Called by the cohort API before it evaluates filters itself; pipelines cohorts.membership takes the
-- same lock (class 'co', number 2) for a whole evaluation. Not had: the pipeline is at it and will
-- take this change along in its next run.
SELECT pg_try_advisory_xact_lock(x'636F'::int, 2);
