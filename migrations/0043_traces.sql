-- The trace that a run or a mail belongs to while it waits, as a W3C traceparent. Null where nothing is traced.
ALTER TABLE journey_states ADD COLUMN traceparent text;
ALTER TABLE email_sends ADD COLUMN traceparent text;
