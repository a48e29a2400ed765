-- What strangers may have made up is believed less. Rows of the version before count as believed.
ALTER TABLE contacts ADD COLUMN email_unconfirmed boolean NOT NULL DEFAULT false;
ALTER TABLE user_events ADD COLUMN trusted boolean NOT NULL DEFAULT true;
-- Told of later than it happened, so it triggers, ends and satisfies nothing.
ALTER TABLE user_events ADD COLUMN historical boolean NOT NULL DEFAULT false;
-- Whether the event that began the run is believed.
ALTER TABLE journey_states ADD COLUMN trusted boolean NOT NULL DEFAULT true;

-- What untrusted events say of known people and somebody has to decide: an address, or that two
-- contacts are one person.
CREATE TABLE pending_changes (
    id         uuid PRIMARY KEY,
    contact_id uuid NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    -- As semantics::address writes it.
    address    text,
    other_id   uuid REFERENCES contacts (id) ON DELETE CASCADE,
    source     text NOT NULL,
    event_id   uuid NOT NULL,
    created_at timestamptz NOT NULL,
    CHECK (num_nonnulls(address, other_id) = 1),
    CHECK (other_id IS DISTINCT FROM contact_id)
);
CREATE UNIQUE INDEX pending_changes_address ON pending_changes (contact_id, address)
    WHERE address IS NOT NULL;
CREATE UNIQUE INDEX pending_changes_unite ON pending_changes (contact_id, other_id)
    WHERE other_id IS NOT NULL;
CREATE INDEX pending_changes_other ON pending_changes (other_id) WHERE other_id IS NOT NULL;
