-- Which installation the database belongs to, so that a restored backup and a copy are noticed before a
-- worker mails anybody. One row.
CREATE TABLE installation (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id           uuid NOT NULL DEFAULT gen_random_uuid(),
    -- One more each time an operator accepts the database after a doubt.
    epoch        integer NOT NULL DEFAULT 1,
    -- API_PUBLIC_URL of the workers that may send; null until the first of them in production.
    public_url   text,
    -- The one before, whose workers may still be restarted for a day.
    previous_url text,
    accepted_at  timestamptz,
    -- The database server and the database on it.
    server       text,
    -- What the worker that had to stop was started with.
    found_url    text,
    -- Heartbeats of all workers, counted, and the last of them.
    beats        bigint NOT NULL DEFAULT 0,
    seen_at      timestamptz,
    -- The latest time during which no worker ran.
    gap_from     timestamptz,
    gap_to       timestamptz,
    -- Mails of this installation that a provider reported and the ledger does not know.
    unknown      uuid[] NOT NULL DEFAULT '{}'
);
INSERT INTO installation DEFAULT VALUES;

-- Several workers share a database; those of a copy have another address.
ALTER TABLE workers ADD COLUMN public_url text;

-- Who began the pause, which decides how it ends.
ALTER TABLE pauses ADD COLUMN cause text NOT NULL DEFAULT 'operator'
    CHECK (cause IN ('operator', 'spike', 'restore'));

-- Journeys that an operator expects to enrol many contacts: until then the spike guard does not hold them.
CREATE TABLE journey_guards (
    journey_id  text PRIMARY KEY,
    quiet_until timestamptz NOT NULL
);

-- Hogsend itself pauses too. Existing rows meet the narrower condition, so none is checked again.
ALTER TABLE audit_logs
    DROP CONSTRAINT audit_logs_actor_type_check,
    ADD CONSTRAINT audit_logs_actor_type_check
        CHECK (actor_type IN ('environment', 'key', 'user', 'command', 'system')) NOT VALID;
