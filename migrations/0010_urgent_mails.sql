-- no-transaction
-- Transactional mail is claimed first, however much other mail is due.
CREATE INDEX CONCURRENTLY IF NOT EXISTS email_sends_urgent ON email_sends (next_attempt_at)
    WHERE transactional AND next_attempt_at IS NOT NULL;
