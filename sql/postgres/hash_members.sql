-- Called by pipelines cohorts.comparison: a scan of user_cohorts, on purpose. Of each cohort how many
-- rows and the XOR of their hashes, see hash_cohorts. No part of the line can hold a slash here, and
-- so no other row makes the same line. All companies where none is named. Grouped before the company
-- is known: by both keys Postgres expects too many groups and sorts a million rows.
SELECT cohorts.company_id, cohorts.id::text, hashed.rows, hashed.hash
FROM (
    SELECT cohort_id, count(*) AS rows, bit_xor(warehouse_hash(
        user_id || '/' || cohort_id || '/' || company_id || '/' || warehouse_milliseconds(joined_at)
    )) AS hash
    FROM user_cohorts
    WHERE cardinality(%(company_ids)s::text[]) = 0 OR company_id = ANY (%(company_ids)s::text[])
    GROUP BY cohort_id
) AS hashed
JOIN cohorts ON cohorts.id = hashed.cohort_id;
