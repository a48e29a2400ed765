-- Tries of a step that asks something outside.
ALTER TABLE journey_steps ADD COLUMN attempts integer NOT NULL DEFAULT 0;

-- An administrator's word: go on with the version of the plugin the run began with; leave the
-- failed run out of the list of dead letters.
ALTER TABLE journey_states ADD COLUMN pinned boolean NOT NULL DEFAULT false;
ALTER TABLE journey_states ADD COLUMN dismissed_at timestamptz;
CREATE INDEX journey_states_broken ON journey_states (status, updated_at DESC)
    WHERE status IN ('failed', 'stuck');

-- What blocks came to that run once in the life of a person and journey.
CREATE TABLE journey_onces (
    contact_id uuid NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    journey_id text NOT NULL,
    key        text NOT NULL,
    value      jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (contact_id, journey_id, key)
);

-- Each time a throttle let a person pass.
CREATE TABLE journey_passes (
    id         uuid PRIMARY KEY,
    contact_id uuid NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    journey_id text NOT NULL,
    passed_at  timestamptz NOT NULL
);
CREATE INDEX journey_passes_contact ON journey_passes (contact_id, journey_id, passed_at);

-- What analytics products are to be told. Written with what caused it, relayed afterwards.
CREATE TABLE analytics_outbox (
    id              uuid PRIMARY KEY,
    contact_id      uuid NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    -- Null where only properties of the person are told.
    event           text,
    properties      jsonb NOT NULL,
    occurred_at     timestamptz NOT NULL,
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL
);
CREATE INDEX analytics_outbox_due ON analytics_outbox (next_attempt_at);
