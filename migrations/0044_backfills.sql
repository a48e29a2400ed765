-- Reading the past of an event source, one at a time for each source: what is read, how far it is, and who
-- reads it. A finished one stays until the next, so that a start knows what was read.
CREATE TABLE backfills (
    source      text PRIMARY KEY,
    since       timestamptz NOT NULL,
    until       timestamptz NOT NULL,
    -- Names of events as the vendor spells them; empty means all.
    events      text[] NOT NULL DEFAULT '{}',
    -- Where the next page begins, in the plugin's own form; null for the first.
    cursor      text,
    -- What became of the events so far.
    tally       jsonb NOT NULL DEFAULT '{}',
    -- Whoever has it, until its lease ends; null where nobody reads.
    claim       uuid,
    lease_until timestamptz,
    started_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    finished_at timestamptz
);
