-- no-transaction
-- Runs put aside while their journey is paused.
CREATE INDEX CONCURRENTLY IF NOT EXISTS journey_states_paused ON journey_states (paused, id)
    WHERE paused IS NOT NULL;
