-- When the provider, or the recipient's mail program, told what became of a mail.
ALTER TABLE email_sends
    ADD COLUMN delivered_at  timestamptz,
    ADD COLUMN opened_at     timestamptz,
    ADD COLUMN clicked_at    timestamptz,
    ADD COLUMN bounced_at    timestamptz,
    ADD COLUMN complained_at timestamptz,
    -- The request that carries the mail together with others, and its place in it.
    ADD COLUMN batch_id      uuid,
    ADD COLUMN batch_pos     integer,
    -- A batch it was in was refused as such, so it travels alone.
    ADD COLUMN alone         boolean NOT NULL DEFAULT false;

-- Only workers write this table, and they wait while an index is made.
CREATE INDEX email_sends_batch ON email_sends (batch_id, batch_pos) WHERE batch_id IS NOT NULL;
CREATE INDEX email_sends_message ON email_sends (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX email_sends_address ON email_sends (lower(to_email));

ALTER TABLE email_attempts ADD COLUMN batch_id uuid;

-- Several mails in one request under one key. Membership and order are frozen with the key, and
-- the batch, not its mails, is what is due while its fate is open.
CREATE TABLE email_batches (
    id               uuid PRIMARY KEY,
    provider         text NOT NULL,
    size             integer NOT NULL,
    attempts         integer NOT NULL,
    first_attempt_at timestamptz NOT NULL,
    next_attempt_at  timestamptz,
    claim            uuid,
    -- How it ended; null while that is open.
    outcome          text,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL
);
CREATE INDEX email_batches_due ON email_batches (next_attempt_at)
    WHERE next_attempt_at IS NOT NULL;

-- The links of a mail, each with an id of its own.
CREATE TABLE tracked_links (
    id       uuid PRIMARY KEY,
    send_id  uuid NOT NULL REFERENCES email_sends (id) ON DELETE CASCADE,
    position integer NOT NULL,
    url      text NOT NULL
);
CREATE INDEX tracked_links_send ON tracked_links (send_id, position);

-- What happened to a mail after it was handed over.
CREATE TABLE email_events (
    id          uuid PRIMARY KEY,
    send_id     uuid NOT NULL REFERENCES email_sends (id) ON DELETE CASCADE,
    kind        text NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    -- The provider that told it; null for our own links and images.
    provider    text,
    link_id     uuid,
    -- Why it is held to be a machine's doing; null where it is a person's.
    machine     text,
    detail      jsonb NOT NULL DEFAULT '{}',
    -- When it can be judged whether a person did it; null once it is.
    settle_at   timestamptz
);
CREATE INDEX email_events_send ON email_events (send_id, occurred_at);
CREATE INDEX email_events_settle ON email_events (settle_at) WHERE settle_at IS NOT NULL;

-- Addresses that get no mail. The hash is keyed, so that an erased person's address is refused
-- without being known.
CREATE TABLE suppressions (
    address_hash bytea PRIMARY KEY,
    -- Null where the person was erased.
    email        text,
    reason       text NOT NULL CHECK (reason IN ('bounced', 'complained', 'manual', 'erased')),
    provider     text,
    detail       text,
    created_at   timestamptz NOT NULL
);
CREATE INDEX suppressions_created ON suppressions (created_at DESC);

ALTER TABLE email_preferences ADD COLUMN bounce_count integer NOT NULL DEFAULT 0;

-- What all workers know of a provider: when the next request may leave, and how often in a row it
-- failed.
CREATE TABLE provider_states (
    provider     text PRIMARY KEY,
    next_slot_at timestamptz,
    -- Microseconds between two requests; null where there is no limit.
    slot_us      bigint,
    faults       integer NOT NULL DEFAULT 0,
    updated_at   timestamptz NOT NULL
);
