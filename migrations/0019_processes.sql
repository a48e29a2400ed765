-- What was asked of a plugin for a run when its worker was last heard of, how often a worker ended in
-- such a call, and how often what came of it could not be recorded.
ALTER TABLE journey_states
    ADD COLUMN calling      text,
    ADD COLUMN deaths       smallint NOT NULL DEFAULT 0,
    ADD COLUMN failures     smallint NOT NULL DEFAULT 0,
    -- Why the run is stuck: diverged, unrecordable, worker_died, unreadable; null where it is not.
    ADD COLUMN stuck_reason text;

-- What is wrong with the background work of a worker, one sentence each.
ALTER TABLE workers ADD COLUMN findings text[] NOT NULL DEFAULT '{}';
