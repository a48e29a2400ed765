-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS analytics_outbox_product
    ON analytics_outbox (product, next_attempt_at);
