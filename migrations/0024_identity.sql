-- Who people are. A contact keeps its first id of the product and its first anonymous id in its own
-- row, where the version before looks for them; all others are rows of contact_identities.

-- The address as semantics::address compares it, and the text it was made of: where the version
-- before writes an address, the two differ until a worker fills them in.
ALTER TABLE contacts
    ADD COLUMN address    text,
    ADD COLUMN address_of text,
    -- What sources sent of late and could not be kept: [{"source", "name", "reason", "at"}].
    ADD COLUMN unfit      jsonb;

-- Postgres' lower() knows other letters than we do, so two addresses could be one to it alone. Locks
-- on the normalised address keep two requests from making one contact twice.
DROP INDEX contacts_email_only;

CREATE TABLE contact_identities (
    -- user, anonymous, or a kind that a source brings.
    kind       text NOT NULL,
    value      text NOT NULL,
    contact_id uuid NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    -- Who said so.
    source     text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (kind, value)
);
CREATE INDEX contact_identities_contact ON contact_identities (contact_id);

-- Contacts that turned out to be one person, with what is needed to take them apart again.
CREATE TABLE contact_merges (
    id         uuid PRIMARY KEY,
    -- Who has it all now.
    contact_id uuid NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    kept       uuid NOT NULL,
    gone       uuid NOT NULL,
    -- What joined them.
    reason     text NOT NULL,
    source     text NOT NULL,
    -- The contact that is gone, its identities and preferences, and what blocks came to.
    snapshot   jsonb NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX contact_merges_contact ON contact_merges (contact_id);

-- The rows that changed hands.
CREATE TABLE contact_merge_rows (
    merge_id   uuid NOT NULL REFERENCES contact_merges (id) ON DELETE CASCADE,
    table_name text NOT NULL,
    row_id     uuid NOT NULL
);
CREATE INDEX contact_merge_rows_merge ON contact_merge_rows (merge_id);

-- Events of visitors nobody knows. What identifies a visitor makes them the history of that person.
CREATE TABLE anonymous_events (
    id                 uuid PRIMARY KEY,
    -- `kind:value` of each id.
    names              text[] NOT NULL,
    source             text NOT NULL,
    trusted            boolean NOT NULL,
    name               text NOT NULL,
    properties         jsonb NOT NULL,
    contact_properties jsonb NOT NULL,
    occurred_at        timestamptz NOT NULL,
    received_at        timestamptz NOT NULL
);
CREATE INDEX anonymous_events_names ON anonymous_events USING gin (names);
