-- Keys made before `ingest` opened the whole data plane, and those that the version before still makes
-- during a deployment: their `ingest` stands for `events`.
ALTER TABLE api_keys ADD COLUMN ingest_is_events boolean NOT NULL DEFAULT true;

-- Administrators who are about to choose another password.
CREATE TABLE password_resets (
    -- The token itself stands only in the mail.
    token_hash bytea PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX password_resets_user ON password_resets (user_id);
