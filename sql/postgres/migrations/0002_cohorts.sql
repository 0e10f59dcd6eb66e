-- Cohorts are ours: named groups of users of one company, by filters or by hand.
CREATE TABLE IF NOT EXISTS cohorts (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id  text NOT NULL CHECK (company_id ~ '^[A-Za-z0-9_-]{1,100}$'),
    name        text NOT NULL CHECK (name <> ''),
    description text,
    filters     jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text,
    UNIQUE (company_id, name),
    -- Target of the membership's key below: it makes a membership's company its cohort's.
    UNIQUE (id, company_id)
);

-- Membership is current state. Rows with joined_by = 'filter' belong to the evaluator of the
-- cohort's filters; all others were made by a person and stay until a person removes them.
CREATE TABLE IF NOT EXISTS user_cohorts (
    user_id    uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    cohort_id  uuid NOT NULL,
    company_id text NOT NULL,
    joined_at  timestamptz NOT NULL DEFAULT now(),
    joined_by  text,
    PRIMARY KEY (cohort_id, user_id),
    FOREIGN KEY (cohort_id, company_id) REFERENCES cohorts (id, company_id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS user_cohorts_user_idx ON user_cohorts (user_id);
CREATE INDEX IF NOT EXISTS user_cohorts_company_idx ON user_cohorts (company_id);
