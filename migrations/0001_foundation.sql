-- Contacts: the people events are about.
CREATE TABLE contacts (
    id            uuid PRIMARY KEY,
    -- The product's own id of the person.
    external_id   text,
    email         text,
    anonymous_id  text,
    properties    jsonb NOT NULL DEFAULT '{}',
    first_seen_at timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL
) WITH (fillfactor = 85);

CREATE UNIQUE INDEX contacts_external_id ON contacts (external_id) WHERE external_id IS NOT NULL;
CREATE INDEX contacts_email ON contacts (lower(email)) WHERE email IS NOT NULL;
-- Two people of the product may share an address; two contacts known by nothing else may not.
CREATE UNIQUE INDEX contacts_email_only ON contacts (lower(email))
    WHERE external_id IS NULL AND email IS NOT NULL;
CREATE INDEX contacts_anonymous_id ON contacts (anonymous_id) WHERE anonymous_id IS NOT NULL;

-- One row per event id of a source. A table of its own, because a unique constraint on a
-- hypertable would have to include the event's time.
CREATE TABLE event_keys (
    source      text NOT NULL,
    key         text NOT NULL,
    event_id    uuid NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (source, key)
);

-- What people did. No foreign key: the row of the contact is locked by the same transaction.
CREATE TABLE user_events (
    id          uuid NOT NULL,
    contact_id  uuid NOT NULL,
    source      text NOT NULL,
    name        text NOT NULL,
    properties  jsonb NOT NULL,
    -- How many journeys stand between this event and one from outside.
    depth       smallint NOT NULL DEFAULT 0,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (id, occurred_at)
);

CREATE INDEX user_events_history ON user_events (contact_id, name, occurred_at DESC);

-- What a person wants to receive.
CREATE TABLE email_preferences (
    contact_id       uuid PRIMARY KEY REFERENCES contacts (id) ON DELETE CASCADE,
    unsubscribed_all boolean NOT NULL DEFAULT false,
    -- Category to whether the person is subscribed; an absent category counts as subscribed.
    categories       jsonb NOT NULL DEFAULT '{}',
    updated_at       timestamptz NOT NULL
);

-- Journeys an administrator switched off.
CREATE TABLE journey_settings (
    journey_id text PRIMARY KEY,
    enabled    boolean NOT NULL,
    updated_at timestamptz NOT NULL
);

-- One row per enrolment.
CREATE TABLE journey_states (
    id              uuid PRIMARY KEY,
    journey_id      text NOT NULL,
    contact_id      uuid NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    plugin_id       text NOT NULL,
    plugin_version  text NOT NULL,
    status          text NOT NULL
        CHECK (status IN ('active', 'waiting', 'completed', 'failed', 'exited', 'stuck')),
    current_node_id text NOT NULL,
    -- The trigger event's name and properties.
    trigger_event   text NOT NULL,
    context         jsonb NOT NULL,
    -- The person as they were at enrolment, so that every replay sees the same.
    person          jsonb NOT NULL,
    depth           smallint NOT NULL,
    -- When a worker has to look at the run; null where only an event can move it. A claim moves it
    -- past the lease, so a run whose worker died becomes due again by itself.
    wake_at         timestamptz,
    claim           uuid,
    -- Counts changes from outside the claim, so an advance on a stale journal is thrown away.
    revision        bigint NOT NULL DEFAULT 0,
    completions     integer NOT NULL DEFAULT 0,
    error_message   text,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    completed_at    timestamptz,
    exited_at       timestamptz
) WITH (fillfactor = 85);

-- Decides races between two enrolments of one person.
CREATE UNIQUE INDEX journey_states_one_open ON journey_states (journey_id, contact_id)
    WHERE status IN ('active', 'waiting');
CREATE INDEX journey_states_due ON journey_states (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX journey_states_contact ON journey_states (contact_id, journey_id, created_at DESC);

-- The journal of a run, one row per step.
CREATE TABLE journey_steps (
    state_id    uuid NOT NULL REFERENCES journey_states (id) ON DELETE CASCADE,
    seq         integer NOT NULL,
    after_count integer NOT NULL,
    kind        text NOT NULL,
    label       text,
    print       text NOT NULL,
    args        jsonb NOT NULL,
    state       text NOT NULL CHECK (state IN ('open', 'noted', 'done', 'cancelled')),
    issued_at   timestamptz NOT NULL,
    due_at      timestamptz,
    done_pos    integer,
    done_at     timestamptz,
    -- {"Ok": value} or {"Err": {code, message}}.
    result      jsonb,
    PRIMARY KEY (state_id, seq)
);

-- Every transition of a run.
CREATE TABLE journey_logs (
    id          uuid PRIMARY KEY,
    state_id    uuid NOT NULL REFERENCES journey_states (id) ON DELETE CASCADE,
    from_status text,
    to_status   text NOT NULL,
    action      text NOT NULL,
    detail      jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL
);

CREATE INDEX journey_logs_state ON journey_logs (state_id, created_at);

-- Enrolments that a guard turned away.
CREATE TABLE enrolment_skips (
    id         uuid PRIMARY KEY,
    journey_id text NOT NULL,
    contact_id uuid NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    event_id   uuid NOT NULL,
    reason     text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE INDEX enrolment_skips_journey ON enrolment_skips (journey_id, reason);
CREATE INDEX enrolment_skips_contact ON enrolment_skips (contact_id);

-- The send ledger: one row per decision to send.
CREATE TABLE email_sends (
    id               uuid PRIMARY KEY,
    contact_id       uuid NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    journey_state_id uuid REFERENCES journey_states (id) ON DELETE CASCADE,
    step_seq         integer,
    template_key     text NOT NULL,
    category         text NOT NULL,
    transactional    boolean NOT NULL DEFAULT false,
    from_email       text NOT NULL,
    to_email         text NOT NULL,
    subject          text NOT NULL,
    -- The rendered mail, frozen when the send was decided; null where it was skipped at once.
    mail             jsonb,
    -- The provider and its exact request bytes, frozen before the first attempt.
    provider         text,
    prepared_type    text,
    prepared         bytea,
    idempotency_key  text NOT NULL UNIQUE,
    status           text NOT NULL CHECK (status IN ('queued', 'sending', 'sent', 'delivered',
        'opened', 'clicked', 'bounced', 'complained', 'failed', 'ambiguous', 'skipped')),
    reason           text,
    attempts         integer NOT NULL DEFAULT 0,
    first_attempt_at timestamptz,
    -- An attempt began and nobody knows that the provider did not take the mail.
    in_doubt         boolean NOT NULL DEFAULT false,
    next_attempt_at  timestamptz,
    claim            uuid,
    message_id       text,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    sent_at          timestamptz,
    UNIQUE (journey_state_id, step_seq)
) WITH (fillfactor = 85);

CREATE INDEX email_sends_due ON email_sends (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX email_sends_contact ON email_sends (contact_id, created_at DESC);
CREATE INDEX email_sends_created ON email_sends (created_at DESC);

CREATE TABLE email_attempts (
    send_id    uuid NOT NULL REFERENCES email_sends (id) ON DELETE CASCADE,
    number     integer NOT NULL,
    provider   text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz,
    outcome    text,
    reason     text,
    PRIMARY KEY (send_id, number)
);

-- A provider that takes no mail for now, whoever asks.
CREATE TABLE provider_pauses (
    provider   text PRIMARY KEY,
    until      timestamptz NOT NULL,
    reason     text NOT NULL,
    updated_at timestamptz NOT NULL
);

-- Workers alive, for the health page.
CREATE TABLE workers (
    id           uuid PRIMARY KEY,
    started_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL
);
