-- Why a cohort's filters can't be evaluated. Its memberships stay as they were: an unknown key is an
-- error on the cohort, not an empty cohort.
CREATE TABLE cohort_filter_errors (
    cohort_id  uuid PRIMARY KEY,
    company_id text NOT NULL,
    error      text NOT NULL,
    since      timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (cohort_id, company_id) REFERENCES cohorts (id, company_id) ON DELETE CASCADE
);

-- The evaluator looks for one company's users by the rarest of these; role and program are checked
-- on what the index returns.
CREATE INDEX IF NOT EXISTS users_company_language_idx ON users (company_id, language);
-- The evaluator's removals read only its own rows.
CREATE INDEX user_cohorts_filter_idx ON user_cohorts (cohort_id) WHERE joined_by = 'filter';

-- A person who adds a user takes the membership over from the evaluator: the evaluator runs within
-- seconds of a cohort's creation, and the person's INSERT must not fail because it was faster.
CREATE FUNCTION take_membership_over() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM user_cohorts
    WHERE cohort_id = NEW.cohort_id AND user_id = NEW.user_id AND joined_by = 'filter';
    RETURN NEW;
END $$;
CREATE TRIGGER user_cohorts_take_over BEFORE INSERT ON user_cohorts FOR EACH ROW
    WHEN (NEW.joined_by IS DISTINCT FROM 'filter') EXECUTE FUNCTION take_membership_over();
