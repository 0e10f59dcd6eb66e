-- Written by the cohort sync. The version is MATERIALIZED, so that a hand-written
-- INSERT INTO cohorts VALUES (…) by position fits, and the later row of a key wins.
CREATE TABLE IF NOT EXISTS cohorts (
    cohort_id   String,
    company_id  String,
    name        String,
    description String,
    filters     String,
    created_at  DateTime64(3, 'UTC'),
    updated_at  DateTime64(3, 'UTC'),
    version     UInt64 MATERIALIZED toUnixTimestamp64Micro(now64(6))
) ENGINE = ReplacingMergeTree(version)
ORDER BY (company_id, cohort_id);

CREATE TABLE IF NOT EXISTS user_cohorts (
    user_id    String,
    cohort_id  String,
    company_id String,
    joined_at  DateTime64(3, 'UTC'),
    version    UInt64 MATERIALIZED toUnixTimestamp64Micro(now64(6))
) ENGINE = ReplacingMergeTree(version)
ORDER BY (company_id, cohort_id, user_id);
