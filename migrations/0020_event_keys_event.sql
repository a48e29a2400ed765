-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS event_keys_event ON event_keys (event_id);
