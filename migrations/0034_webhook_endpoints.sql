-- When something was last posted to an endpoint, to the second.
ALTER TABLE webhook_endpoints ADD COLUMN last_delivery_at timestamptz;
