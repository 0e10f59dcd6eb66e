-- Called by benchmarks.cohorts: members, the same for the same numbers. Cohorts are spread over the
-- companies as users are; a cohort has {percent} of a hundred of its company's users.
INSERT INTO user_cohorts (user_id, cohort_id, company_id, joined_at)
SELECT
    concat('user-', toString(user)),
    toString(UUIDNumToString(MD5(concat('cohort-', toString(cohort))))),
    concat('company-', toString(company)),
    toDateTime64('2024-01-01', 3, 'UTC')
FROM (
    SELECT
        number AS user,
        toUInt32(200 * pow((number + 0.5) / {users:UInt64}, 2)) AS company,
        arrayJoin(
            arrayFilter(
                cohort -> toUInt32(200 * pow((cohort + 0.5) / {cohorts:UInt64}, 2)) = company,
                range(
                    toUInt32(greatest(0, {cohorts:UInt64} * sqrt(company / 200) - 2)),
                    toUInt32({cohorts:UInt64} * sqrt((company + 1) / 200) + 2)
                )
            )
        ) AS cohort
    FROM numbers({users:UInt64})
)
WHERE cohort < {cohorts:UInt64} AND cityHash64('member', user, cohort) % 100 < {percent:UInt8}
