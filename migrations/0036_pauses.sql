-- What an operator paused, and until when. Ended rows are kept: while a pause lasted, the clock of the
-- mails it held stood still.
CREATE TABLE pauses (
    id        uuid PRIMARY KEY,
    scope     text NOT NULL CHECK (scope IN ('everything', 'journey', 'category')),
    -- The id of the journey or the category; empty for everything.
    name      text NOT NULL,
    since     timestamptz NOT NULL,
    until     timestamptz,
    reason    text,
    paused_by text NOT NULL
);
CREATE UNIQUE INDEX pauses_open ON pauses (scope, name) WHERE until IS NULL;

-- Entries into a journey that is paused: they are offered again afterwards.
CREATE TABLE held_entries (
    id          uuid PRIMARY KEY,
    journey_id  text NOT NULL,
    contact_id  uuid NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    event       text NOT NULL,
    properties  jsonb NOT NULL,
    occurred_at timestamptz NOT NULL,
    depth       smallint NOT NULL,
    trusted     boolean NOT NULL,
    held_at     timestamptz NOT NULL
);
CREATE INDEX held_entries_journey ON held_entries (journey_id, id);
CREATE INDEX held_entries_contact ON held_entries (contact_id);

-- The pause for which a run or mail that was due was put aside. It has no due time meanwhile.
ALTER TABLE journey_states ADD COLUMN paused text;
ALTER TABLE email_sends
    ADD COLUMN paused          text,
    -- The moment in `not_after` was given with the mail, so a pause does not move it.
    ADD COLUMN not_after_given boolean;
