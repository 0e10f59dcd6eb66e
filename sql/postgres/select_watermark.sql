-- Called by pipelines cohorts.change_log; the key of cohort_watermarks.
SELECT identity, snapshot::text FROM cohort_watermarks WHERE reader = %(reader)s;
