-- Keys of memberships that the cohort sync is about to delete: one DELETE takes any number of them
-- from here, while a parameter holds 1,000. In memory, since a sync that was cut names them again.
CREATE TABLE IF NOT EXISTS user_cohorts_to_delete (
    user_id    String,
    cohort_id  String,
    company_id String
) ENGINE = Memory;
