-- The engine that each worker runs, as it reports it; null for workers of versions that do not.
ALTER TABLE workers
    ADD COLUMN engine         text,
    ADD COLUMN engine_version text,
    -- up or down
    ADD COLUMN engine_status  text;

-- Engines outside the database that workers use. While there is one, wake-ups of runs are kept for it.
CREATE TABLE engines (
    kind    text PRIMARY KEY,
    -- When a worker with this engine was last alive.
    seen_at timestamptz NOT NULL
);

-- Wake-ups of runs for an engine outside the database, written with what causes them and deleted once the
-- engine has them. Versions without such an engine neither write nor read this table.
CREATE TABLE run_wakes (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Without a reference: the run may be deleted in the same transaction.
    run_id      uuid NOT NULL,
    -- When the run is due; null where it is over.
    at          timestamptz,
    -- A worker relays it, at most until then.
    taken_until timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now()
);
