-- no-transaction
-- Mails that still hold the bytes of a request, to delete those once the mail is over.
CREATE INDEX CONCURRENTLY IF NOT EXISTS email_sends_prepared ON email_sends (created_at)
    WHERE prepared IS NOT NULL;
