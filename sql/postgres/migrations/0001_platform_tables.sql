-- Tables of the platform that the analytics read. They are created only where they are missing, so
-- that an existing platform database keeps its own. Company ids are text: they come from producers
-- as 1-100 characters of [A-Za-z0-9_-], not only as UUIDs.
CREATE TABLE IF NOT EXISTS companies (
    id         text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9_-]{1,100}$'),
    name       text,
    features   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS users (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id text NOT NULL,
    email      text,
    role       text,
    language   text,
    program    text,
    joined_at  timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS users_company_idx ON users (company_id);

CREATE TABLE IF NOT EXISTS company_users (
    company_id text NOT NULL,
    user_id    uuid NOT NULL,
    role       text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, user_id)
);

-- One row a company and period; a period is named by its first day.
CREATE TABLE IF NOT EXISTS metrics_company_period (
    company_id               text NOT NULL,
    period_start             date NOT NULL,
    participants             integer NOT NULL DEFAULT 0 CHECK (participants >= 0),
    avg_integration_score    double precision,
    avg_social_capital_score double precision,
    sroi                     double precision,
    total_matches            integer NOT NULL DEFAULT 0,
    active_matches           integer NOT NULL DEFAULT 0,
    updated_at               timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, period_start)
);

CREATE TABLE IF NOT EXISTS metrics_program_period (
    company_id                text NOT NULL,
    program_type              text NOT NULL,
    period_start              date NOT NULL,
    participants              integer NOT NULL DEFAULT 0 CHECK (participants >= 0),
    avg_match_quality         double precision,
    avg_interaction_frequency double precision,
    completed_milestones      integer NOT NULL DEFAULT 0,
    updated_at                timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, program_type, period_start)
);

CREATE TABLE IF NOT EXISTS metrics_language_period (
    company_id              text NOT NULL,
    language_group          text NOT NULL,
    period_start            date NOT NULL,
    participants            integer NOT NULL DEFAULT 0 CHECK (participants >= 0),
    avg_integration_score   double precision,
    avg_bridge_connections  double precision,
    avg_cross_language_rate double precision,
    updated_at              timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, language_group, period_start)
);

-- One row a user and company: the stage that the user is in, and since when.
CREATE TABLE IF NOT EXISTS user_journeys (
    user_id          uuid NOT NULL,
    company_id       text NOT NULL,
    current_stage    text NOT NULL,
    stage_entered_at timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, user_id)
);
