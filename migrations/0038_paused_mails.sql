-- no-transaction
-- Mails put aside while sending is paused.
CREATE INDEX CONCURRENTLY IF NOT EXISTS email_sends_paused ON email_sends (paused, id)
    WHERE paused IS NOT NULL;
