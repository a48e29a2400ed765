-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS analytics_outbox_contact ON analytics_outbox (contact_id);
