-- Keys of programs. Only a hash is kept: the key is random, so no slow hash is needed.
CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    key_hash     bytea NOT NULL UNIQUE,
    -- The first characters, so that people can tell keys apart.
    key_prefix   text NOT NULL,
    scopes       text[] NOT NULL,
    expires_at   timestamptz,
    -- To the minute.
    last_used_at timestamptz,
    created_at   timestamptz NOT NULL
);
CREATE INDEX api_keys_created ON api_keys (created_at DESC);

-- The people who administer this installation.
CREATE TABLE users (
    id             uuid PRIMARY KEY,
    name           text NOT NULL,
    email          text NOT NULL,
    -- argon2id, as a PHC string.
    password_hash  text NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);
CREATE UNIQUE INDEX users_email ON users (lower(email));

CREATE TABLE sessions (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The token itself stands only in the cookie.
    token_hash bytea NOT NULL UNIQUE,
    ip_address text,
    user_agent text,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expires ON sessions (expires_at);

-- What administrators changed. No foreign keys: a row outlives the key, the person and the thing.
CREATE TABLE audit_logs (
    id            uuid PRIMARY KEY,
    actor_type    text NOT NULL CHECK (actor_type IN ('environment', 'key', 'user', 'command')),
    actor_id      text,
    actor_name    text NOT NULL,
    action        text NOT NULL,
    resource_type text NOT NULL,
    resource_id   text NOT NULL,
    -- What was there before and after; null where there was nothing.
    before        jsonb,
    after         jsonb,
    created_at    timestamptz NOT NULL
);
CREATE INDEX audit_logs_created ON audit_logs (created_at DESC, id DESC);
CREATE INDEX audit_logs_resource ON audit_logs (resource_type, resource_id, created_at DESC);
