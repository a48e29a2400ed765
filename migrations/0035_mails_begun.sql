-- no-transaction
-- A person's mails by when they were begun, for what is counted before each attempt.
CREATE INDEX CONCURRENTLY IF NOT EXISTS email_sends_begun ON email_sends (contact_id, first_attempt_at)
    WHERE first_attempt_at IS NOT NULL;
