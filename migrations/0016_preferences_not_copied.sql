-- no-transaction
CREATE INDEX CONCURRENTLY email_preferences_not_copied ON email_preferences (contact_id)
    WHERE mailbox_at IS DISTINCT FROM updated_at;
