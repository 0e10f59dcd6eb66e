-- Called by sql.bridge: the memberships of Postgres as a table of the warehouse, read through the
-- engine, so that they can be compared or copied by hand with one statement.
CREATE OR REPLACE TABLE user_cohorts_postgres (
    user_id    String,
    cohort_id  String,
    company_id String,
    joined_at  DateTime64(6, 'UTC')
) ENGINE = PostgreSQL({address:String}, {database:String}, 'user_cohorts', {user:String}, {password:String})
