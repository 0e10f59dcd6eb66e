-- Called by the cohort API's cache when parts have changed, for the companies that are asked about: a
-- version of each one's data is the names of those parts that hold rows of it. A merge changes them too,
-- and costs one needless query. Leans on company_id, the first column of both keys.
SELECT company_id, cityHash64(arraySort(groupArray(part)))
FROM (
    SELECT DISTINCT company_id, concat('metrics ', _part) AS part
    FROM metrics_timeseries
    WHERE company_id IN {company_ids:Array(String)}
    UNION ALL
    SELECT DISTINCT company_id, concat('members ', _part) AS part
    FROM user_cohorts
    WHERE company_id IN {company_ids:Array(String)}
)
GROUP BY company_id
