-- Called by the cohort API's cache for retention; as select_metrics_versions, of the events. Leans on
-- company_id, the first column of both keys.
SELECT company_id, cityHash64(arraySort(groupArray(part)))
FROM (
    SELECT DISTINCT company_id, concat('events ', _part) AS part
    FROM events
    WHERE company_id IN {company_ids:Array(String)}
    UNION ALL
    SELECT DISTINCT company_id, concat('members ', _part) AS part
    FROM user_cohorts
    WHERE company_id IN {company_ids:Array(String)}
)
GROUP BY company_id
