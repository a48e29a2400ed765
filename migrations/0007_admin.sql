-- Runs by journey: what each journey's runs have come to, and its newest ones. Runs begin and
-- advance while these are made, a little later.
CREATE INDEX journey_states_journey ON journey_states (journey_id, status);
CREATE INDEX journey_states_newest ON journey_states (journey_id, created_at DESC, id DESC);

-- What became of mails, for reports: read from the index alone.
CREATE INDEX email_sends_sent ON email_sends (sent_at, template_key)
    INCLUDE (provider, delivered_at, opened_at, clicked_at, bounced_at, complained_at)
    WHERE sent_at IS NOT NULL;

-- Mails nobody sends any more, unless an administrator put them aside.
ALTER TABLE email_sends ADD COLUMN dismissed_at timestamptz;
CREATE INDEX email_sends_dead ON email_sends (updated_at DESC)
    WHERE status IN ('failed', 'ambiguous') AND dismissed_at IS NULL;
