-- Called by pipelines cohorts.membership for cohorts that could be evaluated; the key.
DELETE FROM cohort_filter_errors WHERE cohort_id = ANY (%(cohort_ids)s::uuid[]);
