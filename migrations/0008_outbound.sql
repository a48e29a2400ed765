-- Where the installation tells others what happens in it.
CREATE TABLE webhook_endpoints (
    id                 uuid PRIMARY KEY,
    url                text NOT NULL,
    description        text NOT NULL DEFAULT '',
    event_types        text[] NOT NULL,
    disabled           boolean NOT NULL DEFAULT false,
    -- Why it was switched off by itself; null where an administrator did it.
    disabled_reason    text,
    -- Has to be readable: every request is signed with it.
    secret             text NOT NULL,
    -- The one before, which signs as well until then.
    previous_secret    text,
    previous_until     timestamptz,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL
);

-- One row for each thing told to an endpoint, its body frozen.
CREATE TABLE webhook_deliveries (
    id              uuid PRIMARY KEY,
    endpoint_id     uuid NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
    -- Null where it is about nobody, as a test is.
    contact_id      uuid REFERENCES contacts (id) ON DELETE CASCADE,
    event_type      text NOT NULL,
    body            text NOT NULL,
    status          text NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts        integer NOT NULL DEFAULT 0,
    -- Null once it is over.
    next_attempt_at timestamptz,
    claim           uuid,
    -- Of the last attempt.
    response_status integer,
    error           text,
    dismissed_at    timestamptz,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, next_attempt_at)
    WHERE next_attempt_at IS NOT NULL;
CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (endpoint_id, created_at DESC, id DESC);
CREATE INDEX webhook_deliveries_contact ON webhook_deliveries (contact_id)
    WHERE contact_id IS NOT NULL;
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (updated_at DESC)
    WHERE status = 'failed' AND dismissed_at IS NULL;
CREATE INDEX webhook_deliveries_old ON webhook_deliveries (updated_at)
    WHERE next_attempt_at IS NULL;

-- What analytics could not be told.
CREATE TABLE analytics_given_up (
    id          uuid PRIMARY KEY,
    contact_id  uuid NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    event       text,
    properties  jsonb NOT NULL,
    occurred_at timestamptz NOT NULL,
    error       text NOT NULL,
    created_at  timestamptz NOT NULL
);
CREATE INDEX analytics_given_up_created ON analytics_given_up (created_at DESC);
CREATE INDEX analytics_given_up_contact ON analytics_given_up (contact_id);

-- When administrators want to be told that something goes wrong.
CREATE TABLE alert_rules (
    id              uuid PRIMARY KEY,
    name            text NOT NULL,
    type            text NOT NULL CHECK (type IN ('bounce_rate_exceeded', 'journey_failure_spike',
        'delivery_issue', 'high_complaint_rate')),
    threshold       double precision NOT NULL,
    window_minutes  integer NOT NULL,
    -- Below this many cases nothing is said.
    minimum         integer NOT NULL,
    -- After an alert, how long the rule is silent.
    cooldown_minutes integer NOT NULL,
    channel         text NOT NULL CHECK (channel IN ('webhook', 'slack', 'email')),
    -- An address on the web or of mail.
    target          text NOT NULL,
    -- Signs the requests of the channel `webhook`.
    secret          text,
    enabled         boolean NOT NULL,
    next_check_at   timestamptz NOT NULL,
    last_alert_at   timestamptz,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
CREATE INDEX alert_rules_due ON alert_rules (next_check_at) WHERE enabled;

CREATE TABLE alert_history (
    id              uuid PRIMARY KEY,
    rule_id         uuid NOT NULL REFERENCES alert_rules (id) ON DELETE CASCADE,
    value           double precision NOT NULL,
    threshold       double precision NOT NULL,
    cases           bigint NOT NULL,
    message         text NOT NULL,
    status          text NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    claim           uuid,
    error           text,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
CREATE INDEX alert_history_due ON alert_history (next_attempt_at)
    WHERE next_attempt_at IS NOT NULL;
CREATE INDEX alert_history_newest ON alert_history (created_at DESC, id DESC);
-- Contacts on their way in.
CREATE TABLE import_jobs (
    id              uuid PRIMARY KEY,
    status          text NOT NULL CHECK (status IN ('pending', 'running', 'completed', 'failed')),
    format          text NOT NULL CHECK (format IN ('csv', 'json')),
    -- Null once it is over.
    body            bytea,
    total_rows      integer NOT NULL,
    processed_rows  integer NOT NULL DEFAULT 0,
    failed_rows     integer NOT NULL DEFAULT 0,
    -- The first ones: [{"row", "message"}].
    errors          jsonb NOT NULL DEFAULT '[]',
    next_attempt_at timestamptz,
    attempts        integer NOT NULL DEFAULT 0,
    claim           uuid,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
CREATE INDEX import_jobs_due ON import_jobs (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
